#include "ops/attributes.h"
#include "ops/linear_cross_entropy.h"
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

/// The log likelihoods of targets, or their negatives, among the logits of an output head.
struct Likelihoods {
  Pattern hidden;
  Pattern weight;
  Pattern matrix;  // [d, classes]
  Pattern indices;
  Pattern head = either(op("linear", hidden, weight), op("matmul", hidden, matrix));
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
  bool is_transposed(const Found& f) const { return f.has(matrix); }
  Tensor stored(const Found& f) const { return f[is_transposed(f) ? matrix : weight]; }
  std::int64_t classes(const Found& f) const { return stored(f).dim(is_transposed(f) ? 1 : 0); }
  /// A matrix that would have to be copied first stays with `matmul`, which reads it as it lies.
  bool lies_well(const Found& f) const {
    if (!is_transposed(f)) return true;
    return f.is_row_major(hidden) && f.is_row_major(matrix) && f[matrix].rank() == 2;
  }
  /// Whether a row of logits is one of the head's, whatever reshapes them.
  bool keeps_classes(const Found& f) const {
    return lies_well(f) && classes(f) > 0 && f.node(logits).spec.shape.dim(-1) == classes(f);
  }
  Tensor sum(const Found& f, const Tensor& targets, const CrossEntropyAttrs& attrs) const {
    return record_loss_sum(f[hidden], stored(f), targets, {attrs, is_transposed(f)});
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
    const Tensor indices = reshape(f[of.indices], f[of.hidden].shape().without(-1));
    const Tensor sum =
        of.sum(f, as_targets(indices, of.classes(f)), {.ignore_index = -100, .label_smoothing = 0});
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
         if (!of.keeps_classes(f)) return Tensor{};
         return of.sum(f, reshape(f[targets], f[of.hidden].shape().without(-1)),
                       f.root().attrs.as<CrossEntropyAttrs>());
       }},
  };
}

}  // namespace wick
