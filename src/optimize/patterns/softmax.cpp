#include "ops/attributes.h"
#include "optimize/patterns/reductions.h"
#include "optimize/recognize_patterns.h"
#include "wick/ops/elementwise.h"
#include "wick/ops/nn.h"
#include "wick/ops/reduce.h"

namespace wick {
namespace {

/// Rounding a 16-bit float's result once is what the composites do.
Replacement computed_wide(const Pattern& x, const Pattern& inner,
                          Tensor (*composite)(const Tensor&, int, SourceLocation)) {
  return [=](const Found& f) {
    const auto axis = static_cast<int>(f.node(inner).attrs.as<AxisAttrs>().axis);
    const bool narrow = size_of(f[x].dtype()) == 2 && f.node(inner).spec.dtype == DType::f32;
    return narrow && f[x].dtype() == f.root().spec.dtype ? composite(f[x], axis, f.root().where) : Tensor{};
  };
}

Tensor kept_logsumexp(const Tensor& x, int axis, SourceLocation where) {
  return logsumexp(x, {axis}, true, where);
}

}  // namespace

/// A row that holds infinity has no softmax: all of it is NaN, where plain ops may give NaN in that place
/// only.
std::vector<Rule> softmax_patterns() {
  const Pattern x;
  const Pattern max = op("max", x);
  const KeptPattern largest(max);
  const Pattern shifted = op("sub", x, largest.whole);
  const Pattern e = op("exp", shifted);
  const Pattern sum = op("sum", e);
  const KeptPattern total(sum);
  const KeptPattern log_total(op("log", sum));  // a reshape behind it is where `simplify` puts it
  const auto along_one_axis = [=](const KeptPattern& divisor,
                                  Tensor (*composite)(const Tensor&, int, SourceLocation)) {
    return [=](const Found& f) {
      const int axis = largest.axis(f, max);
      const bool agrees = axis >= 0 && divisor.axis(f, sum) == axis;
      return agrees ? composite(f[x], axis, f.root().where) : Tensor{};
    };
  };
  const KeptPattern share(op("div", number(1), sum));
  const Pattern lse = op("logsumexp", x);
  const KeptPattern norm(lse);
  const auto behind_the_norm = [=](Tensor (*composite)(const Tensor&, int, SourceLocation)) {
    return [=](const Found& f) {
      const int axis = norm.axis(f, lse);
      return axis >= 0 ? composite(f[x], axis, f.root().where) : Tensor{};
    };
  };
  const Pattern log_softmax_of_x = op("log_softmax", x);
  const Pattern wide = op("cast", x);
  const Pattern wide_softmax = op("softmax", wide);
  const Pattern wide_log_softmax = op("log_softmax", wide);
  return {
      {"softmax", op("div", e, total.whole), along_one_axis(total, &softmax)},
      {"softmax by a product", op("mul", e, share.whole), along_one_axis(share, &softmax)},
      {"log_softmax", op("sub", shifted, log_total.whole), along_one_axis(log_total, &log_softmax)},
      {"logsumexp", op("add", largest.whole, log_total.whole), along_one_axis(log_total, &kept_logsumexp)},
      {"softmax behind its norm", op("exp", op("sub", x, norm.whole)), behind_the_norm(&softmax)},
      {"log_softmax behind its norm", op("sub", x, norm.whole), behind_the_norm(&log_softmax)},
      {"softmax of log_softmax", op("exp", log_softmax_of_x),
       [=](const Found& f) {
         const auto axis = static_cast<int>(f.node(log_softmax_of_x).attrs.as<AxisAttrs>().axis);
         return softmax(f[x], axis, f.root().where);
       }},
      {"softmax of a 16-bit float", op("cast", wide_softmax), computed_wide(x, wide_softmax, &softmax)},
      {"log_softmax of a 16-bit float", op("cast", wide_log_softmax),
       computed_wide(x, wide_log_softmax, &log_softmax)},
  };
}

}  // namespace wick
