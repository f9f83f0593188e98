#pragma once

#include "wick/model_config.h"

// Published models whose sizes the benchmarks take; the weights are random.
namespace wick::bench {

/// karpathy/tinyllamas, stories260K.
inline ModelConfig stories260k() {
  ModelConfig config;
  config.vocab_size = 512;
  config.hidden_size = 64;
  config.intermediate_size = 172;
  config.layers = 5;
  config.heads = 8;
  config.kv_heads = 4;
  config.head_dim = 8;
  config.max_position_embeddings = 512;
  config.tie_word_embeddings = true;
  return config;
}

/// Qwen/Qwen2.5-0.5B, config.json.
inline ModelConfig qwen_half_billion() {
  ModelConfig config;
  config.architecture = "qwen2";
  config.vocab_size = 151936;
  config.hidden_size = 896;
  config.intermediate_size = 4864;
  config.layers = 24;
  config.heads = 14;
  config.kv_heads = 2;
  config.head_dim = 64;
  config.rope.theta = 1e6;
  config.max_position_embeddings = 32768;
  config.attention_bias = true;
  config.tie_word_embeddings = true;
  return config;
}

/// Qwen/Qwen2.5-7B, config.json.
inline ModelConfig qwen_seven_billion() {
  ModelConfig config = qwen_half_billion();
  config.vocab_size = 152064;
  config.hidden_size = 3584;
  config.intermediate_size = 18944;
  config.layers = 28;
  config.heads = 28;
  config.kv_heads = 4;
  config.head_dim = 128;
  config.tie_word_embeddings = false;
  return config;
}

}  // namespace wick::bench
