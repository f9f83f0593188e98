#pragma once

#include <cstdint>
#include <optional>

#include "train/batches.h"
#include "wick/lora.h"
#include "wick/model.h"

namespace wick {

struct BatchLossOptions {
  double label_smoothing = 0;
  std::optional<Tensor> dropout_key = {};  ///< for the adapter's dropout; absent: none
  bool gradient_checkpointing = false;     ///< a segment a layer
};

/// A batch as a model takes it: data, i32 [rows, length] each.
struct BatchTensors {
  explicit BatchTensors(const Batch& batch);

  Tensor ids;
  Tensor labels;     ///< the token to be predicted at each place, or ignored_label
  Tensor positions;  ///< empty where every row is one document: positions are counted then
  Tensor segments;   ///< likewise
  std::int64_t target_tokens = 0;
};

/// Sum of the negative log likelihoods of a batch's targets, rank 0, recorded. `adapter` may be null.
Tensor batch_loss(const Model& model, const LoraAdapter* adapter, const BatchTensors& batch,
                  const BatchLossOptions& options = {});

/// Tokens of a batch that are not padding.
std::int64_t tokens_of(const Batch& batch);

}  // namespace wick
