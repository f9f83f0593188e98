#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <string_view>

#include "wick/model_config.h"

namespace wick {

/// Most that a size in a model configuration can be.
inline constexpr std::int64_t max_size = std::numeric_limits<std::int32_t>::max();
inline constexpr std::int64_t max_layers = 10'000;

/// A size of a model, by its key in config.json.
struct ModelSize {
  const char* key;
  std::int64_t ModelConfig::*member;
  std::int64_t most;
};
inline constexpr std::array<ModelSize, 8> model_sizes{
    {{"vocab_size", &ModelConfig::vocab_size, max_size},
     {"hidden_size", &ModelConfig::hidden_size, max_size},
     {"intermediate_size", &ModelConfig::intermediate_size, max_size},
     {"num_hidden_layers", &ModelConfig::layers, max_layers},
     {"num_attention_heads", &ModelConfig::heads, max_size},
     {"num_key_value_heads", &ModelConfig::kv_heads, max_size},
     {"head_dim", &ModelConfig::head_dim, max_size},
     {"max_position_embeddings", &ModelConfig::max_position_embeddings, max_size}}};

/// Throws ConfigError that begins with `name`; see `ModelConfig::validate`.
void check_model_config(const ModelConfig& config, std::string_view name);

}  // namespace wick
