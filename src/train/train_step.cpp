#include "train/train_step.h"

#include "optimize/decompose_scope.h"
#include "optimize/pipeline.h"
#include "plan/plan.h"
#include "runtime/evaluation.h"
#include "wick/error.h"
#include "wick/eval.h"
#include "wick/grad.h"
#include "wick/name_scope.h"
#include "wick/ops/elementwise.h"
#include "wick/ops/movement.h"
#include "wick/ops/random.h"

namespace wick {
namespace {

/// Sets the random numbers of dropout apart from others that are drawn from the same seed.
constexpr std::uint64_t dropout_seed_offset = 0x64726f706f757421;

}  // namespace

TrainStep::TrainStep(Model& model, LoraAdapter* adapter, const TrainStepOptions& options)
    : model_(model),
      adapter_(adapter),
      options_(options),
      trainables_(model, adapter),
      optimizer_(options.adamw, trainables_.values()),
      yes_(full({}, 1, DType::bool_).eval().detach().to(model.device())) {}

std::pair<Tensor, std::vector<Tensor>> TrainStep::loss_and_gradients(
    std::span<const BatchTensors> micro_batches, std::int64_t first_micro_batch) {
  std::int64_t targets = 0;
  for (const BatchTensors& batch : micro_batches) targets += batch.target_tokens;
  if (targets == 0) throw InternalError("a training step needs at least one target");
  const Tensor count = Tensor::scalar(static_cast<float>(targets));  // data: plans do not depend on it

  Tensor loss;
  std::vector<Tensor> gradients;
  for (std::size_t i = 0; i < micro_batches.size(); ++i) {
    if (micro_batches[i].target_tokens == 0) continue;
    // What was accumulated becomes data, so that only one micro-batch's activations are held at a time. It is
    // computed while the next one is recorded.
    if (loss.defined()) {
      std::vector<Tensor> so_far = gradients;
      so_far.push_back(loss);
      eval_async(so_far, History::drop);
    }
    BatchLossOptions loss_options{.label_smoothing = options_.label_smoothing,
                                  .gradient_checkpointing = options_.gradient_checkpointing};
    if (adapter_ && adapter_->config().dropout > 0)
      loss_options.dropout_key =
          random_key(options_.seed ^ dropout_seed_offset, static_cast<std::uint64_t>(first_micro_batch) + i);
    const Tensor part = batch_loss(model_, adapter_, micro_batches[i], loss_options) / count;
    std::vector<Tensor> part_gradients = grad(part, trainables_.values());
    if (loss.defined()) {
      loss = loss + part;
      for (std::size_t k = 0; k < gradients.size(); ++k) gradients[k] = gradients[k] + part_gradients[k];
    } else {
      loss = part;
      gradients = std::move(part_gradients);
    }
  }
  return {loss, std::move(gradients)};
}

/// Leaves no handle to what the update replaces but those of the history, so that evaluation may reuse its
/// memory.
TrainStep::Update TrainStep::record_update(std::span<const BatchTensors> micro_batches,
                                           std::int64_t first_micro_batch, double learning_rate,
                                           const Tensor& earlier_made) {
  auto [loss, gradients] = loss_and_gradients(micro_batches, first_micro_batch);
  const NameScope scope("optimizer");
  const Tensor norm = global_norm(gradients);
  const Tensor proceed = logical_and(earlier_made, logical_and(is_finite(loss), is_finite(norm)));
  if (options_.max_grad_norm > 0) gradients = clip_by_global_norm(gradients, norm, options_.max_grad_norm);
  std::vector<Tensor> updated = optimizer_.step(trainables_.values(), gradients, learning_rate, proceed);
  trainables_.set(updated);
  std::vector<Tensor> outputs{loss, norm, proceed};
  for (Tensor& moment : optimizer_.pending()) outputs.push_back(std::move(moment));
  for (Tensor& value : updated) outputs.push_back(std::move(value));
  return {{loss, norm, proceed}, std::move(outputs)};
}

TrainStep::Running TrainStep::submit(std::span<const BatchTensors> micro_batches,
                                     std::int64_t first_micro_batch, double learning_rate,
                                     const Running* after) {
  Update update = record_update(micro_batches, first_micro_batch, learning_rate, after ? after->made : yes_);
  eval_async(update.outputs, History::drop);
  return std::move(update.running);
}

TrainStep::Outcome TrainStep::run(std::span<const BatchTensors> micro_batches, std::int64_t first_micro_batch,
                                  double learning_rate) {
  return submit(micro_batches, first_micro_batch, learning_rate).outcome();
}

TrainStep::Outcome TrainStep::Running::outcome() const {
  return {static_cast<double>(loss.item<float>()), static_cast<double>(norm.item<float>())};
}

std::uint64_t TrainStep::planned_bytes(std::span<const BatchTensors> micro_batches) {
  const Update update = record_update(micro_batches, 0, 0, yes_);
  const Backend& backend = backend_for(model_.device());
  Graph graph = graph_to_evaluate(update.outputs, History::drop);
  return make_plan(optimize(std::move(graph), {backend, DecomposeScope::active()}), backend)->peak_bytes();
}

Explanation TrainStep::explain(std::span<const BatchTensors> micro_batches, double learning_rate) {
  return wick::explain(record_update(micro_batches, 0, learning_rate, yes_).outputs, History::drop);
}

}  // namespace wick
