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

Pattern maybe_reshaped(const Pattern& p) { return either(op("reshape", p), p); }

/// The log likelihoods of targets, or their negatives, among the logits of an output head.
struct Likelihoods {
  Pattern hidden;
  Pattern weight;
  Pattern indices;
  Pattern head = op("linear", hidden, weight);
  Pattern logits = either(op("reshape", op("cast", head)), maybe_cast(maybe_reshaped(head)));
  Pattern log_p = op("log_softmax", logits);
  Pattern picked_log_p = op("take_along_axis", log_p, indices);
  Pattern negated = op("neg", picked_log_p);
  Pattern norm = op("logsumexp", logits);
  Pattern picked_logit = op("take_along_axis", logits, indices);
  Pattern behind_norm = op("sub", maybe_reshaped(norm), maybe_reshaped(picked_logit));
  Pattern whole = maybe_reshaped(either(negated, either(picked_log_p, behind_norm)));

  const Pattern& picked(const Found& f) const { return f.has(norm) ? picked_logit : picked_log_p; }
  bool is_negative(const Found& f) const { return f.has(negated) || f.has(norm); }
  /// Whether a row of logits is one of the head's, whatever reshapes them.
  bool keeps_classes(const Found& f) const {
    const std::int64_t classes = f.node(weight).spec.shape[0];
    return classes > 0 && f.node(logits).spec.shape.dim(-1) == classes;
  }
  /// One target a row, and the norm along the classes.
  bool fits(const Found& f) const {
    if (!keeps_classes(f)) return false;
    const GraphNode& pick = f.node(picked(f));
    const int last = pick.spec.shape.rank() - 1;
    const bool by_row = f.has(norm) ? f.node(norm).attrs.as<ReduceAttrs>().axes == std::uint32_t{1} << last
                                    : f.node(log_p).attrs.as<AxisAttrs>().axis == last;
    return by_row && pick.attrs.as<AxisAttrs>().axis == last && pick.spec.shape.dim(-1) == 1 &&
           f.root().spec.shape.rank() == 0 && pick.spec.shape.elements() > 0 &&
           f[indices].elements() == pick.spec.shape.elements();
  }
};

}  // namespace

std::vector<Rule> cross_entropy_patterns() {
  const Likelihoods of;
  const Pattern targets;
  const Pattern composite = op("cross_entropy_sum", of.logits, targets);
  const auto loss = [=](const Found& f) {
    if (!of.fits(f)) return Tensor{};
    const Tensor hidden = f[of.hidden];
    const Tensor indices = reshape(f[of.indices], hidden.shape().without(-1));
    const Tensor sum =
        linear_cross_entropy_sum(hidden, f[of.weight], as_targets(indices, f.node(of.weight).spec.shape[0]));
    return of.is_negative(f) ? sum : -sum;
  };
  return {
      {"linear_cross_entropy", op("sum", of.whole), loss},
      {"linear_cross_entropy, mean", op("mean", of.whole),
       [=](const Found& f) {
         const Tensor sum = loss(f);
         return sum.defined() ? sum / static_cast<double>(f.node(of.picked(f)).spec.shape.elements()) : sum;
       }},
      {"linear_cross_entropy of the composite", composite,
       [=](const Found& f) {
         const auto attrs = f.root().attrs.as<CrossEntropyAttrs>();
         const Tensor hidden = f[of.hidden];
         if (!of.keeps_classes(f)) return Tensor{};
         return linear_cross_entropy_sum(hidden, f[of.weight],
                                         reshape(f[targets], hidden.shape().without(-1)), attrs.ignore_index,
                                         attrs.label_smoothing);
       }},
  };
}

}  // namespace wick
