#include "train/what_fits.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <optional>

#include "backend/backend.h"
#include "wick/error.h"
#include "wick/memory.h"

namespace wick {
namespace {

/// What an evaluation may plan.
std::uint64_t free_bytes(Device device) {
  const MemoryUse use = backend_for(device).memory_use();
  std::uint64_t bytes = use.free;
  if (bytes < std::numeric_limits<std::uint64_t>::max() - use.kept) bytes += use.kept;
  if (const auto limit = memory_limit()) bytes = std::min(bytes, *limit - std::min(*limit, use.held));
  return bytes;
}

/// Steps of batches like the one that was refused.
class Plans {
 public:
  Plans(const Model& model, const LoraAdapter* adapter, const TrainStepOptions& options,
        const StepShape& shape)
      : model_(model), adapter_(adapter), options_(options), shape_(shape) {}

  std::uint64_t bytes(std::int64_t rows, bool checkpointing) const {
    // The values of the refused step are recorded, so that the parameters have to be others; the weights
    // beside an adapter are data.
    std::optional<LoraAdapter> adapter;
    if (adapter_) adapter = LoraAdapter::create(model_, adapter_->config(), 0);
    Model model = adapter ? model_ : Model::blank(model_.config(), DType::f32, model_.device());
    TrainStepOptions options = options_;
    options.gradient_checkpointing = checkpointing;
    TrainStep step(model, adapter ? &*adapter : nullptr, options);
    std::uint64_t accumulated = 0;
    if (shape_.accumulates)
      for (const Tensor& value : step.trainables().values()) accumulated += value.bytes();
    Batch batch = full_batch(rows, shape_.length);
    if (shape_.packed) batch.segments.back() = 2;
    const BatchTensors tensors(batch);
    return step.planned_bytes({&tensors, 1}) + accumulated;
  }

  /// The most rows that fit into so many bytes; 0: none.
  std::int64_t most_rows(std::uint64_t bytes_free, bool checkpointing) const {
    if (bytes(shape_.rows, checkpointing) <= bytes_free) return shape_.rows;
    std::int64_t fits = 0;
    std::int64_t too_many = shape_.rows;
    while (!shape_.rows_are_fixed && too_many - fits > 1) {
      const std::int64_t rows = (fits + too_many) / 2;
      (bytes(rows, checkpointing) <= bytes_free ? fits : too_many) = rows;
    }
    return fits;
  }

 private:
  const Model& model_;
  const LoraAdapter* adapter_;
  const TrainStepOptions& options_;
  const StepShape& shape_;
};

std::string batch_text(const StepShape& shape, std::int64_t rows) {
  return shape.rows_are_fixed ? fmt::format("{} rows", rows) : fmt::format("--batch-size {}", rows);
}

}  // namespace

std::string what_would_fit(const Model& model, const LoraAdapter* adapter, const TrainStepOptions& options,
                           const StepShape& shape) {
  const std::uint64_t bytes_free = free_bytes(model.device());
  const Plans plans(model, adapter, options, shape);
  std::string ways;
  try {
    for (const bool checkpointing : {false, true}) {
      if (options.gradient_checkpointing && !checkpointing) continue;
      const std::int64_t rows = plans.most_rows(bytes_free, checkpointing);
      if (rows == 0 || (checkpointing == options.gradient_checkpointing && rows == shape.rows)) continue;
      ways += fmt::format("{}{}{} ({} bytes planned)", ways.empty() ? "" : ", or ", batch_text(shape, rows),
                          checkpointing ? " with --gradient-checkpointing" : "",
                          plans.bytes(rows, checkpointing));
    }
    if (!ways.empty()) return fmt::format("For rows of {} tokens would fit: {}", shape.length, ways);
    const std::int64_t fewest = shape.rows_are_fixed ? shape.rows : 1;
    return fmt::format(
        "For rows of {} tokens not even {} with --gradient-checkpointing would fit ({} bytes planned)",
        shape.length, batch_text(shape, fewest), plans.bytes(fewest, true));
  } catch (const MemoryError&) {
    return {};
  }
}

}  // namespace wick
