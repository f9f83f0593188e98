#include "ops/attributes.h"
#include "optimize/recognize_patterns.h"
#include "wick/ops/elementwise.h"
#include "wick/ops/movement.h"
#include "wick/ops/nn.h"

namespace wick {
namespace {

/// Indices as take_along_axis reads them, as targets: negative ones count from the end, and what is out of
/// range on that side is made so on the other, where the loss reports it.
Tensor as_targets(const Tensor& indices, std::int64_t classes) {
  const Tensor wrapped = where(less(indices, -classes), classes, indices + classes);
  return where(less(indices, 0), wrapped, indices);
}

}  // namespace

std::vector<Rule> cross_entropy_patterns() {
  const Pattern hidden;
  const Pattern weight;
  const Pattern indices;
  const Pattern logits = op("linear", hidden, weight);
  const Pattern shaped = either(op("reshape", logits), logits);
  const Pattern log_p = op("log_softmax", maybe_cast(shaped));
  const Pattern picked = op("take_along_axis", log_p, indices);
  const Pattern negated = op("neg", picked);
  const Pattern either_sign = either(negated, picked);
  const Pattern values = either(op("reshape", either_sign), either_sign);
  const Pattern total = op("sum", values);

  const auto loss = [=](const Found& f) {
    const int last = f.node(log_p).spec.shape.rank() - 1;
    const std::int64_t classes = f.node(weight).spec.shape[0];
    const bool fits = f.node(log_p).attrs.as<AxisAttrs>().axis == last &&
                      f.node(picked).attrs.as<AxisAttrs>().axis == last &&
                      f.node(picked).spec.shape.dim(-1) == 1 && f.root().spec.shape.rank() == 0 &&
                      classes > 0 && f.node(picked).spec.shape.elements() > 0;
    if (!fits) return Tensor{};
    const Tensor targets = as_targets(reshape(f[indices], f[hidden].shape().without(-1)), classes);
    const Tensor sum = linear_cross_entropy_sum(f[hidden], f[weight], targets);
    return f.has(negated) ? sum : -sum;
  };
  return {
      {"linear_cross_entropy", total, loss},
      {"linear_cross_entropy, mean", op("mean", values),
       [=](const Found& f) {
         const Tensor sum = loss(f);
         return sum.defined() ? sum / static_cast<double>(f.node(picked).spec.shape.elements()) : sum;
       }},
  };
}

}  // namespace wick
