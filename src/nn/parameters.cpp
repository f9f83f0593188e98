#include "nn/parameters.h"

#include <fmt/format.h>

namespace wick {
namespace {

struct LayerLinear {
  const char* name;
  std::int64_t in;
  std::int64_t out;
  bool bias;
};

std::vector<LayerLinear> layer_linears(const ModelConfig& c) {
  const std::int64_t q = c.heads * c.head_dim;
  const std::int64_t kv = c.kv_heads * c.head_dim;
  return {{"self_attn.q_proj", c.hidden_size, q, c.attention_bias},
          {"self_attn.k_proj", c.hidden_size, kv, c.attention_bias},
          {"self_attn.v_proj", c.hidden_size, kv, c.attention_bias},
          {"self_attn.o_proj", q, c.hidden_size, c.attention_output_bias},
          {"mlp.gate_proj", c.hidden_size, c.intermediate_size, c.mlp_bias},
          {"mlp.up_proj", c.hidden_size, c.intermediate_size, c.mlp_bias},
          {"mlp.down_proj", c.intermediate_size, c.hidden_size, c.mlp_bias}};
}

}  // namespace

std::vector<ParameterSpec> parameter_specs(const ModelConfig& c) {
  using Kind = ParameterSpec::Kind;
  std::vector<ParameterSpec> specs{
      {"model.embed_tokens.weight", {c.vocab_size, c.hidden_size}, Kind::embedding}};
  for (std::int64_t layer = 0; layer < c.layers; ++layer) {
    const std::string name = fmt::format("model.layers.{}.", layer);
    specs.push_back({name + "input_layernorm.weight", {c.hidden_size}, Kind::norm});
    for (const LayerLinear& l : layer_linears(c)) {
      specs.push_back({name + l.name + ".weight", {l.out, l.in}, Kind::linear});
      if (l.bias) specs.push_back({name + l.name + ".bias", {l.out}, Kind::bias});
    }
    if (c.qk_norm) {
      specs.push_back({name + "self_attn.q_norm.weight", {c.head_dim}, Kind::norm});
      specs.push_back({name + "self_attn.k_norm.weight", {c.head_dim}, Kind::norm});
    }
    specs.push_back({name + "post_attention_layernorm.weight", {c.hidden_size}, Kind::norm});
  }
  specs.push_back({"model.norm.weight", {c.hidden_size}, Kind::norm});
  if (!c.tie_word_embeddings)
    specs.push_back({"lm_head.weight", {c.vocab_size, c.hidden_size}, Kind::linear});
  return specs;
}

std::vector<LinearModule> linear_module_specs(const ModelConfig& c) {
  std::vector<LinearModule> modules;
  for (std::int64_t layer = 0; layer < c.layers; ++layer)
    for (const LayerLinear& l : layer_linears(c))
      modules.push_back({fmt::format("model.layers.{}.{}", layer, l.name), l.in, l.out});
  modules.push_back({"lm_head", c.hidden_size, c.vocab_size});
  return modules;
}

}  // namespace wick
