#pragma once

#include <vector>

#include "wick/lora.h"
#include "wick/model.h"

namespace wick {

/// What follows the ids that were fed to a model.
struct Fed {
  Tensor logits;     ///< f32 [rows, vocab], behind the last id of each row
  Tensor likeliest;  ///< the id with the highest logit, i32 [rows, 1]

  /// All that a step of generation evaluates: these, and the keys and values of each layer.
  std::vector<Tensor> outputs(const KvCache& cache) const;
};

/// Records feeding ids [rows, length], the last `padding` of which are none. Advances the cache.
Fed record_feed(const Model& model, const LoraAdapter* adapter, KvCache& cache, const Tensor& ids,
                std::int64_t padding = 0);

}  // namespace wick
