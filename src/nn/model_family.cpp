#include "nn/model_family.h"

#include <algorithm>
#include <array>

namespace wick {
namespace {

ModelConfig llama_defaults() {
  ModelConfig config;
  config.architecture = "llama";
  config.vocab_size = 32000;
  config.hidden_size = 4096;
  config.intermediate_size = 11008;
  config.layers = 32;
  config.heads = 32;
  config.kv_heads = 0;
  config.head_dim = 0;
  config.rms_norm_eps = 1e-6;
  config.max_position_embeddings = 2048;
  config.bos_id = 1;
  config.eos_ids = {2};
  return config;
}

ModelConfig mistral_defaults() {
  ModelConfig config = llama_defaults();
  config.architecture = "mistral";
  config.intermediate_size = 14336;
  config.kv_heads = 8;
  config.max_position_embeddings = 131072;
  return config;
}

ModelConfig qwen2_defaults() {
  ModelConfig config = llama_defaults();
  config.architecture = "qwen2";
  config.vocab_size = 151936;
  config.intermediate_size = 22016;
  config.kv_heads = 32;
  config.max_position_embeddings = 32768;
  config.bos_id.reset();
  config.eos_ids.clear();
  return config;
}

ModelConfig qwen3_defaults() {
  ModelConfig config = qwen2_defaults();
  config.architecture = "qwen3";
  config.head_dim = 128;
  return config;
}

}  // namespace

std::span<const ModelFamily> model_families() {
  using Bias = ModelFamily::AttentionBias;
  using Windows = ModelFamily::Windows;
  static const std::array<ModelFamily, 4> families{{
      {.model_type = "llama",
       .class_name = "LlamaForCausalLM",
       .attention_bias = Bias::configurable,
       .has_mlp_bias = true,
       .qk_norm = false,
       .windows = Windows::none,
       .default_window = {},
       .defaults = llama_defaults()},
      {.model_type = "mistral",
       .class_name = "MistralForCausalLM",
       .attention_bias = Bias::none,
       .has_mlp_bias = false,
       .qk_norm = false,
       .windows = Windows::all_layers,
       .default_window = 4096,
       .defaults = mistral_defaults()},
      {.model_type = "qwen2",
       .class_name = "Qwen2ForCausalLM",
       .attention_bias = Bias::qkv,
       .has_mlp_bias = false,
       .qk_norm = false,
       .windows = Windows::by_layer,
       .default_window = 4096,
       .defaults = qwen2_defaults()},
      {.model_type = "qwen3",
       .class_name = "Qwen3ForCausalLM",
       .attention_bias = Bias::configurable,
       .has_mlp_bias = false,
       .qk_norm = true,
       .windows = Windows::by_layer,
       .default_window = 4096,
       .defaults = qwen3_defaults()},
  }};
  return families;
}

const ModelFamily* find_model_family(std::string_view model_type) {
  const auto families = model_families();
  const auto found = std::find_if(families.begin(), families.end(),
                                  [=](const auto& f) { return f.model_type == model_type; });
  return found == families.end() ? nullptr : &*found;
}

std::string list_model_families() {
  std::string list;
  for (const ModelFamily& family : model_families()) {
    if (!list.empty()) list += ", ";
    list += family.model_type;
  }
  return list;
}

}  // namespace wick
