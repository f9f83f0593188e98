#pragma once

#include <cstdint>
#include <vector>

#include "wick/lora.h"
#include "wick/model.h"

namespace wick {

/// Records feeding ids [rows, length], the last `padding` of which are none: the logits behind the last id of
/// each row, [rows, vocabulary] in the model's dtype. Advances the cache.
Tensor record_feed(const Model& model, const LoraAdapter* adapter, KvCache& cache, const Tensor& ids,
                   std::int64_t padding = 0);

/// Adds the keys and values of each layer to what a step evaluates: they become data with it.
void append_tensors(const KvCache& cache, std::vector<Tensor>& outputs);

}  // namespace wick
