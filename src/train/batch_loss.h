#pragma once

#include <cstdint>
#include <optional>

#include "train/batches.h"
#include "wick/lora.h"
#include "wick/model.h"

namespace wick {

struct BatchLossOptions {
  double label_smoothing = 0;
  std::optional<Tensor> dropout_key;  ///< for the adapter's dropout; absent: none
};

/// Sum of the negative log likelihoods of a batch's targets, rank 0, recorded. `adapter` may be null.
Tensor batch_loss(const Model& model, const LoraAdapter* adapter, const Batch& batch,
                  const BatchLossOptions& options = {});

/// Tokens of a batch that are not padding.
std::int64_t tokens_of(const Batch& batch);

}  // namespace wick
