#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace wick {

/// A regular expression (PCRE2 syntax, close to Python's) that must match a module's whole name.
struct ModuleRegex {
  explicit ModuleRegex(std::string p) : pattern(std::move(p)) {}
  std::string pattern;
  friend bool operator==(const ModuleRegex&, const ModuleRegex&) = default;
};
/// Every linear layer but the output head ("all-linear").
struct AllLinear {
  friend bool operator==(AllLinear, AllLinear) = default;
};
/// Module names: a whole name, or its last parts ("q_proj", "self_attn.q_proj").
using ModuleNames = std::vector<std::string>;

using TargetModules = std::variant<ModuleNames, ModuleRegex, AllLinear>;
using ExcludedModules = std::variant<ModuleNames, ModuleRegex>;

/// Reads a command-line value: "all-linear", names separated by commas, or (when it has a character that no
/// name has, such as `*` or `(`) one regular expression. Throws ArgumentError for an empty one.
TargetModules parse_target_modules(std::string_view text);

/// Settings of a LoRA adapter, with the meaning that they have in PEFT's adapter_config.json. Module names
/// are those of the base model ("model.layers.0.self_attn.q_proj"). Patterns are regular expressions that
/// must match the end of a module's name from the start or from a dot, `(.*\.)?(pattern)$`; the first hit in
/// the order of the map counts, which is also the order in which PEFT writes them.
struct LoraConfig {
  std::int64_t rank = 8;
  double alpha = 16;
  bool use_rslora =
      false;  ///< scale alpha / sqrt(rank) instead of alpha / rank (https://arxiv.org/abs/2312.03732)
  double dropout = 0;  ///< of the adapter's input while training, in [0, 1)
  TargetModules target_modules = ModuleNames{"q_proj", "v_proj"};
  ExcludedModules exclude_modules = ModuleNames{};
  std::map<std::string, std::int64_t> rank_pattern;
  std::map<std::string, double> alpha_pattern;
  /// Only these layers, counted from 0 (with names as targets; a target that is a whole module name is taken
  /// anyway).
  std::optional<std::vector<std::int64_t>> layers_to_transform;
  /// Regular expressions for the name before the layer's number, e.g. "layers". Empty: any name.
  std::vector<std::string> layers_pattern;
  std::string base_model;  ///< name or path of the base, for the reader

  /// Reads an adapter_config.json. Keys without a meaning for Wick are ignored when they are unset, and
  /// refused by name when they would change the result (use_dora, bias, modules_to_save, ...). Throws
  /// FileError; FormatError for malformed JSON; AdapterError that names the key for a wrong or unsupported
  /// value.
  static LoraConfig from_file(const std::filesystem::path& file);
  /// The same for the file's text; `name` stands for its path in errors.
  static LoraConfig from_json(std::string_view text, std::string_view name = "adapter_config.json");
  /// The text that PEFT 0.21 writes for these settings, for inference, without a final newline.
  std::string to_json() const;

  /// Throws AdapterError that names the setting when a value is out of range, values contradict each other,
  /// or a regular expression does not compile.
  void validate() const;

  /// Whether the adapter has a layer for a linear module. Throws AdapterError when a regular expression does
  /// not compile or exceeds its match limit, as do the three below.
  bool targets(const std::string& module) const;
  std::int64_t rank_for(const std::string& module) const;
  double alpha_for(const std::string& module) const;
  /// The factor of B A x: alpha / rank, or alpha / sqrt(rank) with `use_rslora`, of this module's own rank
  /// and alpha.
  double scale_for(const std::string& module) const;

  friend bool operator==(const LoraConfig&, const LoraConfig&) = default;
};

}  // namespace wick
