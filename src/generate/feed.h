#pragma once

#include <vector>

#include "wick/model.h"

namespace wick {

/// Records `Model::forward` for the logits behind the last id of each row: [rows, vocabulary] in the model's
/// dtype.
Tensor record_feed(const Model& model, ModelInput input);

/// Adds the keys and values of each layer to what a step evaluates: they become data with it.
void append_tensors(const KvCache& cache, std::vector<Tensor>& outputs);

}  // namespace wick
