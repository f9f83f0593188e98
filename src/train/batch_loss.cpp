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

Tensor batch_loss(const Model& model, const LoraAdapter* adapter, const Batch& batch,
                  const BatchLossOptions& options) {
  const Shape shape{batch.rows, batch.length};
  ModelInput input;
  input.ids = Tensor::from(batch.input_ids, shape);
  input.adapter = adapter;
  input.dropout_key = options.dropout_key;
  // Padding is on the right and never a target, so that the causal rule alone keeps it out of every loss.
  const bool packed = std::any_of(batch.segments.begin(), batch.segments.end(), [](auto s) { return s > 1; });
  if (packed) {
    input.positions = Tensor::from(batch.positions, shape);
    input.mask = same_document(Tensor::from(batch.segments, shape));
  }
  const Tensor labels = Tensor::from(shifted_labels(batch), shape);
  const bool by_logits = adapter && adapter->find("lm_head");
  const Tensor result = by_logits ? model.forward(input) : model.hidden_states(input);
  const NameScope scope("loss");
  if (by_logits) return cross_entropy_sum(result, labels, ignored_label, options.label_smoothing);
  return linear_cross_entropy_sum(result, model.output_weight(), labels, ignored_label,
                                  options.label_smoothing);
}

std::int64_t tokens_of(const Batch& batch) {
  return batch.rows * batch.length - std::count(batch.segments.begin(), batch.segments.end(), 0);
}

}  // namespace wick
