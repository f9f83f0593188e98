#include <fmt/format.h>

#include "train/train_step.h"
#include "wick/error.h"
#include "wick/trainer.h"

namespace wick {
Explanation explain_train_step(Model model, std::optional<LoraAdapter> adapter, const TrainOptions& options,
                               std::int64_t rows, std::int64_t length) {
  if (options.full == adapter.has_value())
    throw ArgumentError("a training step needs either an adapter or the option to train all parameters");
  const std::int64_t positions = model.config().max_position_embeddings;
  if (rows < 1 || length < 2 || length > positions)
    throw ArgumentError(
        fmt::format("{} rows of {} tokens cannot be trained on: at least 1 row, and 2 to {} tokens", rows,
                    length, positions));
  TrainStep step(model, adapter ? &*adapter : nullptr,
                 {options.adamw, options.max_grad_norm, options.label_smoothing, options.seed,
                  options.gradient_checkpointing});
  const Batch batch = full_batch(rows, length);
  const BatchTensors tensors(batch);
  Explanation result = step.explain({&tensors, 1}, options.learning_rate);
  result.title =
      fmt::format("training step of {}: {} x {} tokens, {} weights",
                  options.full ? "all parameters" : "an adapter", rows, length, name_of(model.dtype()));
  return result;
}

}  // namespace wick
