#include "ops/cross_entropy.h"

#include <fmt/format.h>

#include "graph/record.h"
#include "ops/attributes.h"
#include "ops/helpers.h"
#include "ops/widen.h"
#include "wick/error.h"
#include "wick/ops/indexing.h"
#include "wick/ops/movement.h"
#include "wick/ops/nn.h"
#include "wick/ops/reduce.h"

namespace wick {
namespace {

Spec infer(InputSpecs inputs, const Attrs& attrs) {
  const Spec& logits = inputs[0];
  const Spec& targets = inputs[1];
  require_floating(logits.dtype);
  require_targets(targets.dtype);
  if (logits.shape.rank() < 1 || logits.shape.dim(-1) == 0)
    throw ShapeError(
        fmt::format("logits must be [..., classes] with at least one class, not {}", logits.shape.str()));
  if (!(targets.shape == logits.shape.without(-1)))
    throw ShapeError(fmt::format("targets must be {}, the logits' shape without its last dimension, not {}",
                                 logits.shape.without(-1).str(), targets.shape.str()));
  require_smoothing(attrs.as<CrossEntropyAttrs>().label_smoothing);
  return {Shape{}, wide_dtype(logits.dtype)};
}

Tensor counted_targets(const Tensor& targets, const Attrs& attrs) {
  return not_equal(targets, attrs.as<CrossEntropyAttrs>().ignore_index);
}

Tensor decompose(Inputs inputs, const Attrs& attrs) {
  const double smoothing = attrs.as<CrossEntropyAttrs>().label_smoothing;
  const Tensor& targets = inputs[1];
  const Tensor log_p = log_softmax(widen(inputs[0]), -1);
  const Tensor counted = counted_targets(targets, attrs);
  // A negative class would count from the end: it is made an index that is out of range for sure.
  const Tensor checked = where(less(targets, 0), inputs[0].dim(-1), targets);
  const Tensor index = expand_dims(where(counted, checked, 0), -1);
  Tensor loss = neg(squeeze(take_along_axis(log_p, index, -1), -1));
  if (smoothing > 0) loss = loss * (1 - smoothing) - mean(log_p, {-1}) * smoothing;
  return sum(where(counted, loss, 0.0));
}

/// The gradient of the sum with respect to the logits, as an op of its own, so that a backend can make it in
/// one pass. Inputs are logits, targets and the gradient of the sum.
Spec infer_gradient(InputSpecs inputs, const Attrs&) { return inputs[0]; }

/// Per row: (softmax - (1 - e) one_hot - e / classes) grad, 0 where ignored.
Tensor decompose_gradient(Inputs inputs, const Attrs& attrs) {
  const double smoothing = attrs.as<CrossEntropyAttrs>().label_smoothing;
  const Tensor& logits = inputs[0];
  const Tensor& targets = inputs[1];
  const std::int64_t classes = logits.dim(-1);
  Tensor expected = one_hot(targets, classes, wide_dtype(logits.dtype()));
  if (smoothing > 0) expected = expected * (1 - smoothing) + smoothing / static_cast<double>(classes);
  const Tensor counted = expand_dims(counted_targets(targets, attrs), -1);
  return cast_to(where(counted, (softmax(widen(logits), -1) - expected) * inputs[2], 0.0), logits.dtype());
}

const Op gradient_op{.name = "cross_entropy_gradient",
                     .infer = infer_gradient,
                     .decompose = decompose_gradient,
                     .describe = describe_cross_entropy};

}  // namespace

Tensor cross_entropy_gradient(const Tensor& logits, const Tensor& targets, const Tensor& grad,
                              const Attrs& attrs) {
  return record(gradient_op, {logits, targets, grad}, attrs, {});
}

namespace {

std::vector<Tensor> vjp(const VjpArgs& args) {
  std::vector<Tensor> gradients(2);
  if (args.needed[0])
    gradients[0] = cross_entropy_gradient(args.inputs[0], args.inputs[1], args.grad, args.attrs);
  return gradients;
}

const Op cross_entropy_op{.name = "cross_entropy_sum",
                          .infer = infer,
                          .decompose = decompose,
                          .vjp = vjp,
                          .describe = describe_cross_entropy};

}  // namespace

std::string describe_cross_entropy(const Attrs& attrs) {
  const auto options = attrs.as<CrossEntropyAttrs>();
  return fmt::format("ignore_index={}, label_smoothing={}", options.ignore_index, options.label_smoothing);
}

void require_targets(DType dtype) {
  if (dtype != DType::i32 && dtype != DType::i64)
    throw DTypeError(fmt::format("targets must be i32 or i64, not {}", name_of(dtype)));
}

void require_smoothing(double smoothing) {
  if (!(smoothing >= 0 && smoothing <= 1))
    throw ArgumentError(fmt::format("label smoothing must lie in [0, 1], it is {}", smoothing));
}

Tensor cross_entropy_sum(const Tensor& logits, const Tensor& targets, std::int64_t ignore_index,
                         double label_smoothing, SourceLocation where) {
  return record(cross_entropy_op, {logits, targets}, CrossEntropyAttrs{ignore_index, label_smoothing}, where);
}

Tensor mean_over_counted(const Tensor& total, const Tensor& targets, std::int64_t ignore_index,
                         SourceLocation where) {
  const Tensor counted = cast(not_equal({targets, where}, {ignore_index, where}), total.dtype(), where);
  return div({total, where}, {maximum({sum(counted, {}, false, where), where}, {1, where}), where});
}

Tensor cross_entropy(const Tensor& logits, const Tensor& targets, std::int64_t ignore_index,
                     double label_smoothing, SourceLocation where) {
  return mean_over_counted(cross_entropy_sum(logits, targets, ignore_index, label_smoothing, where), targets,
                           ignore_index, where);
}

}  // namespace wick
