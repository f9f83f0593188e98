#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "wick/dtype.h"

namespace wick {

/// Rotary position embedding: pair i of a head turns by position * theta^(-2i / head_dim), scaled by type.
struct RopeConfig {
  enum class Type {
    standard,  ///< unscaled ("default" in config.json)
    linear,    ///< all frequencies divided by `factor`
    llama3,  ///< Llama 3.1: frequencies below original_max_position / low_freq_factor wavelengths divided by
             ///< `factor`, above original_max_position / high_freq_factor kept, interpolated between
  };
  double theta = 10000.0;
  Type type = Type::standard;
  double factor = 1.0;
  double low_freq_factor = 1.0;
  double high_freq_factor = 4.0;
  std::int64_t original_max_position = 8192;

  friend bool operator==(const RopeConfig&, const RopeConfig&) = default;
};

/// What a decoder is made of, as Hugging Face's config.json says it. Sizes are elements.
struct ModelConfig {
  std::string architecture = "llama";  ///< "llama", "mistral", "qwen2" or "qwen3" (`model_type`)
  std::int64_t vocab_size = 32000;
  std::int64_t hidden_size = 4096;
  std::int64_t intermediate_size = 11008;
  std::int64_t layers = 32;
  std::int64_t heads = 32;
  std::int64_t kv_heads = 32;  ///< divides `heads`
  std::int64_t head_dim = 128;
  double rms_norm_eps = 1e-6;
  RopeConfig rope;
  std::int64_t max_position_embeddings = 2048;
  /// One a layer: how many positions back attention sees, itself included (none: all). Empty: none in any
  /// layer.
  std::vector<std::optional<std::int64_t>> sliding_windows;
  bool attention_bias = false;         ///< q_proj, k_proj and v_proj have a bias
  bool attention_output_bias = false;  ///< o_proj has one
  bool mlp_bias = false;               ///< gate_proj, up_proj and down_proj have one
  bool qk_norm = false;                ///< rms_norm over head_dim of q and k before rope (q_norm, k_norm)
  bool tie_word_embeddings = false;    ///< the output head is the embedding
  double initializer_range = 0.02;     ///< standard deviation of random weights
  std::optional<std::int64_t> bos_id;
  std::vector<std::int64_t> eos_ids;
  std::optional<std::int64_t> pad_id;
  std::optional<DType> dtype;  ///< of the weights on file, where the file says so

  /// Reads a config.json, with the older keys (rope_theta, rope_scaling, torch_dtype) or the newer ones
  /// (rope_parameters, dtype). Missing keys take the defaults of the architecture's configuration class in
  /// transformers 5. Keys that do not change the result are ignored, as is attention_dropout. Throws
  /// FileError; FormatError for malformed JSON; ConfigError that names the key for a wrong, contradicting or
  /// unsupported value.
  static ModelConfig from_file(const std::filesystem::path& file);
  /// The same for the file's text; `name` stands for its path in errors.
  static ModelConfig from_json(std::string_view text, std::string_view name = "config.json");

  /// A config.json that transformers (4 and 5) loads as the same model. Throws ConfigError as `validate`
  /// does.
  std::string to_json() const;

  /// Throws ConfigError that names the field when a value is out of range, values contradict each other, or
  /// the architecture has no way to say them.
  void validate() const;

  /// The window of a layer, or none.
  std::optional<std::int64_t> sliding_window(std::int64_t layer) const {
    return sliding_windows.empty() ? std::nullopt : sliding_windows.at(static_cast<std::size_t>(layer));
  }

  friend bool operator==(const ModelConfig&, const ModelConfig&) = default;
};

}  // namespace wick
