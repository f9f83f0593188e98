#pragma once

#include "wick/model.h"

namespace wick {

/// A decoder bound to parameters and one call's input; records the layers in order.
class Decoder {
 public:
  Decoder(const Model& model, const ModelInput& input);

  /// [batch, length, hidden] after the last norm.
  Tensor hidden_states();
  /// [batch, length, vocab]
  Tensor logits(const Tensor& hidden);

 private:
  Tensor weight(const std::string& name) const;
  /// The parameter, or empty where the model has none of that name.
  Tensor optional_weight(const std::string& name) const;
  /// A linear layer by module name, with the adapter's low-rank part when it names the module.
  Tensor linear_layer(const std::string& module, const Tensor& x);
  Tensor attention_block(int layer, const Tensor& x);
  Tensor mlp_block(int layer, const Tensor& x);
  /// A whole layer, from residual stream to residual stream.
  Tensor layer_block(int layer, const Tensor& x);
  /// Appends to the cache of `layer`, where there is one, and gives what to attend to.
  KvCache::Layer extended_cache(int layer, const Tensor& k, const Tensor& v);

  const Model& model_;
  const ModelConfig& config_;
  const ModelInput& input_;
  std::int64_t batch_;
  std::int64_t length_;
  std::int64_t start_ = 0;  // position of the first id
  Tensor offset_;           // start_ as data, when there is a cache
  Tensor cos_;
  Tensor sin_;
  std::uint64_t dropout_calls_ = 0;
};

}  // namespace wick
