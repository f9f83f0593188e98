#include "ops/attributes.h"
#include "optimize/patterns/reductions.h"
#include "optimize/recognize_patterns.h"
#include "wick/ops/elementwise.h"
#include "wick/ops/nn.h"

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

}  // namespace

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
  const Pattern wide = op("cast", x);
  const Pattern wide_softmax = op("softmax", wide);
  const Pattern wide_log_softmax = op("log_softmax", wide);
  return {
      {"softmax", op("div", e, total.whole), along_one_axis(total, &softmax)},
      {"log_softmax", op("sub", shifted, log_total.whole), along_one_axis(log_total, &log_softmax)},
      {"softmax of a 16-bit float", op("cast", wide_softmax), computed_wide(x, wide_softmax, &softmax)},
      {"log_softmax of a 16-bit float", op("cast", wide_log_softmax),
       computed_wide(x, wide_log_softmax, &log_softmax)},
  };
}

}  // namespace wick
