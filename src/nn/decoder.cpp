#include "nn/decoder.h"

#include <fmt/format.h>

#include "wick/error.h"
#include "wick/grad.h"
#include "wick/name_scope.h"
#include "wick/ops.h"

namespace wick {
namespace {

constexpr std::int64_t table_bucket = 512;

/// [batch, length, heads * d] -> [batch, heads, length, d]
Tensor split_heads(const Tensor& x, std::int64_t heads, std::int64_t head_dim) {
  return permute(reshape(x, {x.dim(0), x.dim(1), heads, head_dim}), {0, 2, 1, 3});
}

}  // namespace

Decoder::Decoder(const Model& model, const ModelInput& input)
    : model_(model), config_(model.config()), input_(input), batch_(0), length_(0) {
  if (input.ids.rank() != 2)
    throw ShapeError(fmt::format("model input ids must be [batch, length], not {}", input.ids.str()));
  batch_ = input.ids.dim(0);
  length_ = input.ids.dim(1);
  if (input.padding < 0 || (input.padding > 0 && input.padding >= length_))
    throw ArgumentError(fmt::format("{} ids of padding leave nothing of rows of {}", input.padding, length_));
  if (input.cache_length.defined() &&
      (!input.cache || input.cache_length.rank() != 0 || input.cache_length.dtype() != DType::i64))
    throw ArgumentError(fmt::format("the cache's length must be an i64 scalar beside a cache, not {}",
                                    input.cache_length.str()));
  if (input.cache) {
    if (!input.cache_length.defined()) start_ = input.cache->length;
    if (start_ + length_ > input.cache->capacity)
      throw ArgumentError(fmt::format("the KV cache has room for {} positions, {} are needed",
                                      input.cache->capacity, start_ + length_));
    offset_ = input.cache_length.defined() ? input.cache_length : Tensor::scalar<std::int64_t>(start_);
  }
  // The table's length is structure: rounded up so that decoding reuses one plan.
  const std::int64_t most = config_.max_position_embeddings;
  if (!input.positions.defined() && start_ + length_ > most)
    throw ArgumentError(
        fmt::format("position {} is beyond the model's {} positions", start_ + length_ - 1, most));
  const std::int64_t reach = input.positions.defined() ? most : input.cache ? input.cache->capacity : length_;
  const std::int64_t rows = std::min(most, (reach + table_bucket - 1) / table_bucket * table_bucket);
  const NameScope scope("model.rotary_emb");
  const auto& [cos_table, sin_table] = model.rope_tables_for(rows);
  Tensor positions = input.positions;
  if (!positions.defined()) {
    positions = reshape(arange(length_, DType::i64), {1, length_});
    if (offset_.defined()) positions = positions + offset_;
  }
  cos_ = take(cos_table, positions, 0);
  sin_ = take(sin_table, positions, 0);
}

Tensor Decoder::weight(const std::string& name) const { return model_.parameter(name); }

Tensor Decoder::optional_weight(const std::string& name) const {
  const auto it = model_.parameters().find(name);
  return it == model_.parameters().end() ? Tensor{} : it->second;
}

Tensor Decoder::linear_layer(const std::string& module, const Tensor& x) {
  const Tensor w = module == "lm_head" ? model_.output_weight() : weight(module + ".weight");
  const Tensor bias = optional_weight(module + ".bias");
  const LoraLayer* layer = input_.adapter ? input_.adapter->find(module) : nullptr;
  if (!layer) return linear(x, w, bias);
  const double p = input_.adapter->dropout();
  if (!input_.dropout_key || p == 0) return lora_linear(x, w, bias, layer->a, layer->b, layer->scale);
  // PEFT drops inputs of the low-rank branch only.
  const auto call = static_cast<std::int64_t>(dropout_calls_++);
  const Tensor key = *input_.dropout_key + Tensor::from(std::vector<std::int64_t>{0, call << 32}, {2});
  const Tensor dropped = dropout(cast(x, layer->a.dtype()), p, key);
  const Tensor low_rank = linear(linear(dropped, layer->a), layer->b) * layer->scale;
  return cast(linear(x, w, bias) + low_rank, x.dtype());
}

KvCache::Layer Decoder::extended_cache(int layer, const Tensor& k, const Tensor& v) {
  if (!input_.cache) return {k, v};
  KvCache::Layer& kept = input_.cache->layers[static_cast<std::size_t>(layer)];
  kept.k = slice_update(kept.k, k, offset_, 2);
  kept.v = slice_update(kept.v, v, offset_, 2);
  return kept;
}

Tensor Decoder::attention_block(int layer, const Tensor& x) {
  const NameScope scope("self_attn");
  const std::string name = fmt::format("model.layers.{}.self_attn", layer);
  Tensor q = split_heads(linear_layer(name + ".q_proj", x), config_.heads, config_.head_dim);
  Tensor k = split_heads(linear_layer(name + ".k_proj", x), config_.kv_heads, config_.head_dim);
  const Tensor v = split_heads(linear_layer(name + ".v_proj", x), config_.kv_heads, config_.head_dim);
  if (config_.qk_norm) {
    q = rms_norm(q, weight(name + ".q_norm.weight"), config_.rms_norm_eps);
    k = rms_norm(k, weight(name + ".k_norm.weight"), config_.rms_norm_eps);
  }
  q = rope(q, cos_, sin_);
  k = rope(k, cos_, sin_);
  const KvCache::Layer seen = extended_cache(layer, k, v);
  AttentionOptions options;
  options.causal = true;
  options.window = config_.sliding_window(layer).value_or(0);
  const Tensor mixed = attention(q, seen.k, seen.v, options, input_.mask, offset_);
  return linear_layer(name + ".o_proj", reshape(permute(mixed, {0, 2, 1, 3}),
                                                {batch_, length_, config_.heads * config_.head_dim}));
}

Tensor Decoder::mlp_block(int layer, const Tensor& x) {
  const NameScope scope("mlp");
  const std::string name = fmt::format("model.layers.{}.mlp", layer);
  return linear_layer(name + ".down_proj",
                      swiglu(linear_layer(name + ".gate_proj", x), linear_layer(name + ".up_proj", x)));
}

Tensor Decoder::layer_block(int layer, const Tensor& x) {
  const std::string name = fmt::format("model.layers.{}", layer);
  const Tensor mixed =
      x + attention_block(layer, rms_norm(x, weight(name + ".input_layernorm.weight"), config_.rms_norm_eps));
  return mixed + mlp_block(layer, rms_norm(mixed, weight(name + ".post_attention_layernorm.weight"),
                                           config_.rms_norm_eps));
}

Tensor Decoder::hidden_states() {
  const auto embedded = [&] {
    const NameScope scope("model.embed_tokens");
    return embedding(weight("model.embed_tokens.weight"), input_.ids);
  };
  Tensor x = embedded();
  for (int layer = 0; layer < config_.layers; ++layer) {
    const NameScope scope(fmt::format("model.layers.{}", layer));
    const auto block = [&](std::span<const Tensor> inputs) { return layer_block(layer, inputs[0]); };
    const std::span<const Tensor> inputs(&x, 1);
    x = input_.checkpoint_layers ? checkpoint(block, inputs) : block(inputs);
  }
  if (input_.cache && !input_.cache_length.defined())
    input_.cache->length = start_ + length_ - input_.padding;
  const NameScope scope("model.norm");
  // Which position is the last is data: it does not make another plan.
  if (input_.last_only && length_ > 1)
    x = take(x, Tensor::from(std::vector<std::int64_t>{length_ - 1 - input_.padding}, {1}), 1);
  return rms_norm(x, weight("model.norm.weight"), config_.rms_norm_eps);
}

Tensor Decoder::logits(const Tensor& hidden) {
  const NameScope scope("lm_head");
  return linear_layer("lm_head", hidden);
}

}  // namespace wick
