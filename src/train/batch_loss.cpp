#include "train/batch_loss.h"

#include <algorithm>

#include "wick/name_scope.h"
#include "wick/ops/elementwise.h"
#include "wick/ops/movement.h"
#include "wick/ops/nn.h"

namespace wick {
namespace {

/// [rows, 1, length, length]: a place may attend to its own document. Together with the causal rule this
/// keeps the documents of a packed row apart.
Tensor same_document(const Tensor& segments) {
  const Tensor by_row = expand_dims(segments, 1);
  return equal(expand_dims(by_row, -1), expand_dims(by_row, -2));
}

}  // namespace

BatchTensors::BatchTensors(const Batch& batch) : target_tokens(batch.target_tokens) {
  const Shape shape{batch.rows, batch.length};
  ids = Tensor::from(batch.input_ids, shape);
  labels = Tensor::from(shifted_labels(batch), shape);
  // Padding is on the right and never a target, so that the causal rule alone keeps it out of every loss.
  const bool packed = std::any_of(batch.segments.begin(), batch.segments.end(), [](auto s) { return s > 1; });
  if (!packed) return;
  positions = Tensor::from(batch.positions, shape);
  segments = Tensor::from(batch.segments, shape);
}

Tensor batch_loss(const Model& model, const LoraAdapter* adapter, const BatchTensors& batch,
                  const BatchLossOptions& options) {
  ModelInput input;
  input.ids = batch.ids;
  input.adapter = adapter;
  input.dropout_key = options.dropout_key;
  input.checkpoint_layers = options.gradient_checkpointing;
  input.positions = batch.positions;
  if (batch.segments.defined()) input.mask = same_document(batch.segments);
  const bool by_logits = adapter && adapter->find("lm_head");
  const Tensor result = by_logits ? model.forward(input) : model.hidden_states(input);
  const NameScope scope("loss");
  if (by_logits) return cross_entropy_sum(result, batch.labels, ignored_label, options.label_smoothing);
  return linear_cross_entropy_sum(result, model.output_weight(), batch.labels, ignored_label,
                                  options.label_smoothing);
}

std::int64_t tokens_of(const Batch& batch) {
  return batch.rows * batch.length - std::count(batch.segments.begin(), batch.segments.end(), 0);
}

}  // namespace wick
