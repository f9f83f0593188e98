#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "train/batch_loss.h"
#include "train/trainables.h"
#include "wick/explain.h"
#include "wick/optimizer.h"

namespace wick {

struct TrainStepOptions {
  AdamWOptions adamw;
  double max_grad_norm = 1.0;  ///< 0: no clipping
  double label_smoothing = 0;
  std::uint64_t seed = 0;  ///< of the adapter's dropout
  bool gradient_checkpointing = false;
};

/// Forward, backward, clipping and update. The loss is the mean over all targets of all micro-batches, so
/// that accumulation is the same sum in another order. Refers to model and adapter, which must outlive it.
class TrainStep {
 public:
  /// `adapter` null: all parameters of the model are trained.
  TrainStep(Model& model, LoraAdapter* adapter, const TrainStepOptions& options);

  struct Outcome {
    double loss = 0;
    double grad_norm = 0;  ///< before clipping
  };
  /// A step that was submitted.
  struct Running {
    Tensor loss;
    Tensor norm;
    Tensor made;  ///< whether the update was made
    /// Waits for the step. Throws what went wrong.
    Outcome outcome() const;
  };
  /// Submits one update from `micro_batches`, which must have a target, to the current stream. When loss or
  /// norm is not finite, parameters and optimizer keep their values, and the outcome shows it.
  /// `first_micro_batch` counts those of all earlier steps: the dropout of each is drawn from the seed and
  /// its number. `after`: a step whose outcome is not known yet; without its update none is made here.
  Running submit(std::span<const BatchTensors> micro_batches, std::int64_t first_micro_batch,
                 double learning_rate, const Running* after = nullptr);
  /// The same, and waits.
  Outcome run(std::span<const BatchTensors> micro_batches, std::int64_t first_micro_batch,
              double learning_rate);
  /// {loss, gradients in the order of trainables().names()} of a step, recorded, not evaluated, without
  /// clipping.
  std::pair<Tensor, std::vector<Tensor>> loss_and_gradients(std::span<const BatchTensors> micro_batches,
                                                            std::int64_t first_micro_batch);

  /// What `run` would compute. The parameters are left recorded, not evaluated: for a step that is thrown
  /// away.
  Explanation explain(std::span<const BatchTensors> micro_batches, double learning_rate);

  /// The memory that `run` would plan, in bytes; leaves the parameters likewise.
  std::uint64_t planned_bytes(std::span<const BatchTensors> micro_batches);

  Trainables& trainables() noexcept { return trainables_; }
  AdamW& optimizer() noexcept { return optimizer_; }

 private:
  /// A recorded update; `outputs` are all that is to be evaluated.
  struct Update {
    Running running;
    std::vector<Tensor> outputs;
  };
  Update record_update(std::span<const BatchTensors> micro_batches, std::int64_t first_micro_batch,
                       double learning_rate, const Tensor& earlier_made);

  const Model& model_;
  const LoraAdapter* adapter_;
  TrainStepOptions options_;
  Trainables trainables_;
  AdamW optimizer_;
  const Tensor yes_;  ///< stands for earlier updates that were made
};

}  // namespace wick
