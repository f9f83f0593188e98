#include "wick/lora_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "io/json.h"
#include "io/json_field.h"
#include "io/printable.h"
#include "io/read_file.h"
#include "lora/module_regex.h"
#include "wick/error.h"

namespace wick {
namespace {

constexpr std::size_t max_file_bytes = std::size_t{4} << 20;
constexpr std::size_t max_patterns = 10'000;
constexpr std::int64_t max_int = std::numeric_limits<std::int32_t>::max();
constexpr std::string_view all_linear = "all-linear";

/// The keys that `from_json` reads.
constexpr std::array<std::string_view, 15> read_keys{"peft_type",         "r",
                                                     "lora_alpha",        "use_rslora",
                                                     "lora_dropout",      "bias",
                                                     "target_modules",    "exclude_modules",
                                                     "rank_pattern",      "alpha_pattern",
                                                     "layers_pattern",    "layers_to_transform",
                                                     "init_lora_weights", "base_model_name_or_path",
                                                     "qalora_group_size"};
/// Keys that say nothing about what a trained adapter computes.
constexpr std::array<std::string_view, 12> ignored_keys{
    "auto_mapping", "inference_mode", "revision",     "task_type",      "peft_version",  "megatron_core",
    "loftq_config", "eva_config",     "corda_config", "lora_ga_config", "velora_config", "runtime_config"};
/// Ways to initialise that leave the base's weights alone; the others make the adapter wrong for the plain
/// base.
constexpr std::array<std::string_view, 3> harmless_initialisations{"gaussian", "eva", "orthogonal"};

template <typename Range, typename T>
bool contains(const Range& range, const T& value) {
  return std::find(range.begin(), range.end(), value) != range.end();
}

// Reading

void refuse_unsupported(const JsonField& root) {
  const auto type = root.find("peft_type");
  if (!type) root.refuse("has no 'peft_type': it is not a PEFT adapter configuration");
  if (type->string() != "LORA") type->refuse(fmt::format("is {}; only LORA is supported", type->text()));

  if (const auto bias = root.find("bias"); bias && bias->string() != "none") {
    bias->refuse(fmt::format("is {}; only none is supported", bias->text()));
  }
  if (const auto init = root.find("init_lora_weights"); init && init->is_string()) {
    if (!contains(harmless_initialisations, init->string())) {
      init->refuse(fmt::format(
          "is {}, which changes the base's weights; convert the adapter to plain LoRA first", init->text()));
    }
  }
  for (const auto& [key, field] : root.members()) {
    if (!contains(read_keys, key) && !contains(ignored_keys, key) && !field.is_unset()) {
      field.refuse(fmt::format("is {}, which is not supported", field.text()));
    }
  }
}

TargetModules read_targets(const JsonField& root) {
  const auto field = root.find("target_modules");
  if (!field) root.refuse("has no 'target_modules'");
  if (field->is_array()) return field->strings();
  std::string text = field->string();
  std::string lower = text;
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  if (lower == all_linear) return AllLinear{};
  return ModuleRegex(std::move(text));
}

ExcludedModules read_excluded(const JsonField& root) {
  const auto field = root.find("exclude_modules");
  if (!field || field->is_unset()) return ModuleNames{};
  if (field->is_array()) return field->strings();
  return ModuleRegex(field->string());
}

std::optional<std::vector<std::int64_t>> read_layers(const JsonField& root) {
  const auto field = root.find("layers_to_transform");
  if (!field) return std::nullopt;
  if (!field->is_array()) return std::vector{field->integer(0, max_int)};
  std::vector<std::int64_t> layers;
  for (const JsonField& layer : field->elements()) layers.push_back(layer.integer(0, max_int));
  return layers;
}

std::vector<std::string> read_layers_pattern(const JsonField& root) {
  const auto field = root.find("layers_pattern");
  if (!field || field->is_unset()) return {};
  return field->is_array() ? field->strings() : std::vector{field->string()};
}

// Checking

/// Throws AdapterError that begins with `name`.
class Check {
 public:
  Check(const LoraConfig& config, std::string_view name) : config_(config), name_(name) {}

  void run() const {
    require(config_.rank >= 1 && config_.rank <= max_int, "r", "must be from 1 to 2147483647", config_.rank);
    require(std::isfinite(config_.alpha), "lora_alpha", "must be a finite number", config_.alpha);
    require(config_.dropout >= 0 && config_.dropout < 1, "lora_dropout", "must be at least 0 and below 1",
            config_.dropout);
    check_targets();
    check_layers();
    check_patterns("rank_pattern", config_.rank_pattern);
    check_patterns("alpha_pattern", config_.alpha_pattern);
    for (const auto& [pattern, rank] : config_.rank_pattern) {
      require(rank >= 1 && rank <= max_int, "rank_pattern", "must have ranks from 1 to 2147483647", rank);
    }
    for (const auto& [pattern, alpha] : config_.alpha_pattern) {
      require(std::isfinite(alpha), "alpha_pattern", "must have finite numbers", alpha);
    }
  }

 private:
  [[noreturn]] void refuse(std::string_view key, std::string_view complaint) const {
    throw AdapterError(fmt::format("{}: '{}' {}", name_, key, complaint));
  }
  template <typename T>
  void require(bool holds, std::string_view key, std::string_view what, T value) const {
    if (!holds) refuse(key, fmt::format("{}, not {}", what, value));
  }
  /// Compiles it.
  void check_regex(std::string_view key, const std::string& pattern) const {
    matches_start(pattern, "", fmt::format("{}: '{}'", name_, key));
  }

  void check_targets() const {
    if (const auto* names = std::get_if<ModuleNames>(&config_.target_modules); names && names->empty()) {
      refuse("target_modules", "names no module");
    }
    if (const auto* regex = std::get_if<ModuleRegex>(&config_.target_modules)) {
      check_regex("target_modules", regex->pattern);
    }
    if (const auto* regex = std::get_if<ModuleRegex>(&config_.exclude_modules)) {
      check_regex("exclude_modules", regex->pattern);
    }
  }

  void check_layers() const {
    const bool by_names = std::holds_alternative<ModuleNames>(config_.target_modules);
    if (config_.layers_to_transform && !by_names) {
      refuse("layers_to_transform", "needs 'target_modules' to be a list of names");
    }
    if (!config_.layers_pattern.empty() && !config_.layers_to_transform) {
      refuse("layers_pattern", "needs 'layers_to_transform'");
    }
    for (const std::string& pattern : config_.layers_pattern) check_regex("layers_pattern", pattern);
    if (!config_.layers_to_transform) return;
    for (const std::int64_t layer : *config_.layers_to_transform) {
      require(layer >= 0, "layers_to_transform", "must have layers from 0", layer);
    }
  }

  template <typename Patterns>
  void check_patterns(std::string_view key, const Patterns& patterns) const {
    if (patterns.size() > max_patterns) refuse(key, fmt::format("has more than {} patterns", max_patterns));
    for (const auto& [pattern, value] : patterns) check_regex(key, pattern);
  }

  const LoraConfig& config_;
  std::string_view name_;
};

// Matching

bool is_named(const ModuleNames& names, const std::string& module) {
  return std::any_of(names.begin(), names.end(), [&](const std::string& name) {
    return module == name || (module.size() > name.size() && module.ends_with(name) &&
                              module[module.size() - name.size() - 1] == '.');
  });
}

bool is_output_head(const std::string& module) { return is_named({"lm_head"}, module); }

/// The number of the layer that a module is in: the first number between dots, after what a pattern says.
std::optional<std::int64_t> layer_of(const std::string& module, const std::vector<std::string>& patterns) {
  constexpr std::string_view setting = "'layers_pattern'";
  std::optional<std::string> digits;
  if (patterns.empty()) digits = match_group(R"(.*?\.[^.]*\.(?P<idx>\d+)\.)", "idx", module, setting);
  for (const std::string& pattern : patterns) {
    if (digits) break;
    digits = match_group(fmt::format(R"((?:^|.*?\.){}\.(?P<idx>\d+)\.)", pattern), "idx", module, setting);
  }
  std::int64_t layer = 0;
  if (!digits || std::from_chars(digits->data(), digits->data() + digits->size(), layer).ec != std::errc()) {
    return std::nullopt;
  }
  return layer;
}

template <typename T>
T first_hit(const std::map<std::string, T>& patterns, std::string_view setting, const std::string& module,
            T otherwise) {
  for (const auto& [pattern, value] : patterns) {
    if (matches_end(pattern, module, setting)) return value;
  }
  return otherwise;
}

// Writing

/// A number as Python's json writes what was given as an int, where it is one.
nlohmann::json number(double value) {
  const bool whole = value == std::floor(value) && std::abs(value) < 1e15;
  return whole ? nlohmann::json(static_cast<std::int64_t>(value)) : nlohmann::json(value);
}

nlohmann::json text_or_null(const std::string& text) {
  return text.empty() ? nlohmann::json() : nlohmann::json(text);
}

struct ToJson {
  nlohmann::json operator()(const ModuleNames& names) const { return names; }
  nlohmann::json operator()(const ModuleRegex& regex) const { return regex.pattern; }
  nlohmann::json operator()(AllLinear) const { return all_linear; }
};

nlohmann::json excluded_to_json(const ExcludedModules& excluded) {
  const auto* names = std::get_if<ModuleNames>(&excluded);
  return names && names->empty() ? nlohmann::json() : std::visit(ToJson{}, excluded);
}

nlohmann::json layers_pattern_to_json(const std::vector<std::string>& patterns) {
  if (patterns.empty()) return nullptr;
  return patterns.size() == 1 ? nlohmann::json(patterns.front()) : nlohmann::json(patterns);
}

}  // namespace

TargetModules parse_target_modules(std::string_view text) {
  if (text == all_linear) return AllLinear{};
  if (text.find_first_of(R"(\^$*+?()[]{}|)") != text.npos) return ModuleRegex(std::string(text));
  ModuleNames names;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(','), text.size());
    if (end > 0) names.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  if (names.empty()) {
    throw ArgumentError(
        "target modules must be names separated by commas, a regular expression, or all-linear");
  }
  return names;
}

LoraConfig LoraConfig::from_file(const std::filesystem::path& file) {
  return from_json(read_file(file, max_file_bytes), file.string());
}

LoraConfig LoraConfig::from_json(std::string_view text, std::string_view name) {
  const JsonField root(parse_json(text, name), name, JsonField::throw_as<AdapterError>);
  refuse_unsupported(root);
  LoraConfig config;
  config.rank = root.integer_or("r", 8, 1, max_int);
  config.alpha = root.number_or("lora_alpha", 8);
  config.use_rslora = root.boolean_or("use_rslora", false);
  config.dropout = root.number_or("lora_dropout", 0);
  config.target_modules = read_targets(root);
  config.exclude_modules = read_excluded(root);
  if (const auto patterns = root.find("rank_pattern")) {
    for (const auto& [pattern, field] : patterns->members())
      config.rank_pattern[pattern] = field.integer(1, max_int);
  }
  if (const auto patterns = root.find("alpha_pattern")) {
    for (const auto& [pattern, field] : patterns->members()) config.alpha_pattern[pattern] = field.number();
  }
  config.layers_to_transform = read_layers(root);
  config.layers_pattern = read_layers_pattern(root);
  config.base_model = root.string_or("base_model_name_or_path", "");
  Check(config, name).run();
  return config;
}

std::string LoraConfig::to_json() const {
  validate();
  nlohmann::json alphas = nlohmann::json::object();
  for (const auto& [pattern, value] : alpha_pattern) alphas[pattern] = number(value);
  const nlohmann::json json{
      {"alora_invocation_tokens", nullptr},
      {"alpha_pattern", alphas},
      {"arrow_config", nullptr},
      {"auto_mapping", nullptr},
      {"base_model_name_or_path", text_or_null(base_model)},
      {"bias", "none"},
      {"corda_config", nullptr},
      {"ensure_weight_tying", false},
      {"eva_config", nullptr},
      {"exclude_modules", excluded_to_json(exclude_modules)},
      {"fan_in_fan_out", false},
      {"inference_mode", true},
      {"init_lora_weights", true},
      {"kasa_config", nullptr},
      {"layer_replication", nullptr},
      {"layers_pattern", layers_pattern_to_json(layers_pattern)},
      {"layers_to_transform", layers_to_transform ? nlohmann::json(*layers_to_transform) : nlohmann::json()},
      {"loftq_config", nlohmann::json::object()},
      {"lora_alpha", number(alpha)},
      {"lora_bias", false},
      {"lora_dropout", dropout},
      {"lora_ga_config", nullptr},
      {"megatron_config", nullptr},
      {"megatron_core", "megatron.core"},
      {"modules_to_save", nullptr},
      {"monteclora_config", nullptr},
      {"peft_type", "LORA"},
      {"peft_version", "0.21.0"},
      {"qalora_group_size", 16},
      {"r", rank},
      {"rank_pattern", rank_pattern},
      {"revision", nullptr},
      {"target_modules", std::visit(ToJson{}, target_modules)},
      {"target_parameters", nullptr},
      {"task_type", "CAUSAL_LM"},
      {"trainable_token_indices", nullptr},
      {"use_bdlora", nullptr},
      {"use_dora", false},
      {"use_qalora", false},
      {"use_rslora", use_rslora},
      {"velora_config", nullptr},
  };
  try {
    return json.dump(2, ' ', true);
  } catch (const nlohmann::json::exception&) {
    throw AdapterError(
        "a module name, a pattern or the base's name in the adapter configuration is not UTF-8");
  }
}

void LoraConfig::validate() const { Check(*this, "the adapter configuration").run(); }

bool LoraConfig::targets(const std::string& module) const {
  const auto* excluded_names = std::get_if<ModuleNames>(&exclude_modules);
  if (excluded_names
          ? is_named(*excluded_names, module)
          : matches_whole(std::get<ModuleRegex>(exclude_modules).pattern, module, "'exclude_modules'")) {
    return false;
  }
  if (std::holds_alternative<AllLinear>(target_modules)) return !is_output_head(module);
  if (const auto* regex = std::get_if<ModuleRegex>(&target_modules)) {
    return matches_whole(regex->pattern, module, "'target_modules'");
  }
  const auto& names = std::get<ModuleNames>(target_modules);
  if (contains(names, module)) return true;
  if (!is_named(names, module)) return false;
  if (!layers_to_transform || layers_to_transform->empty()) return true;
  const auto layer = layer_of(module, layers_pattern);
  return layer && contains(*layers_to_transform, *layer);
}

std::int64_t LoraConfig::rank_for(const std::string& module) const {
  return first_hit(rank_pattern, "'rank_pattern'", module, rank);
}

double LoraConfig::alpha_for(const std::string& module) const {
  return first_hit(alpha_pattern, "'alpha_pattern'", module, alpha);
}

double LoraConfig::scale_for(const std::string& module) const {
  const auto own_rank = static_cast<double>(rank_for(module));
  return alpha_for(module) / (use_rslora ? std::sqrt(own_rank) : own_rank);
}

}  // namespace wick
