#pragma once

#include <cstdint>
#include <string>

#include "train/train_step.h"

namespace wick {

/// Batches of `rows` rows of `length` tokens that a step takes, one after the other.
struct StepShape {
  std::int64_t rows = 0;
  std::int64_t length = 0;
  bool packed = false;          ///< rows of several documents
  bool accumulates = false;     ///< over several batches
  bool rows_are_fixed = false;  ///< by the data
};

/// For a step that was refused memory: a sentence on the largest batches, without and with gradient
/// checkpointing, whose planned memory is free now on the model's device and under the memory limit. Plans,
/// for which there must be memory for new factors and moments; the sentence is empty where there is not.
std::string what_would_fit(const Model& model, const LoraAdapter* adapter, const TrainStepOptions& options,
                           const StepShape& shape);

}  // namespace wick
