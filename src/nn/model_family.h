#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "wick/model_config.h"

namespace wick {

/// What an architecture's configuration class in transformers fixes, leaves open and takes as default.
struct ModelFamily {
  enum class AttentionBias { none, qkv, configurable };  ///< configurable: attention_bias, of all four
  enum class Windows { none, all_layers, by_layer };

  std::string_view model_type;
  std::string_view class_name;  ///< with the language-model head
  AttentionBias attention_bias;
  bool has_mlp_bias;  ///< takes mlp_bias
  bool qk_norm;
  Windows windows;
  std::optional<std::int64_t> default_window;
  ModelConfig defaults;  ///< kv_heads 0: as many as heads; head_dim 0: hidden_size / heads
};

std::span<const ModelFamily> model_families();

/// Null when there is none of that `model_type`.
const ModelFamily* find_model_family(std::string_view model_type);

/// "llama, mistral, ..."
std::string list_model_families();

}  // namespace wick
