#include "optimize/patterns/reductions.h"

#include <bit>
#include <cmath>

#include "ops/attributes.h"
#include "ops/reduce_shapes.h"

namespace wick {

int KeptPattern::axis(const Found& found, const Pattern& reduction) const {
  const GraphNode& node = found.node(reduction);
  const auto attrs = node.attrs.as<ReduceAttrs>();
  const Shape& x = found.graph().nodes[node.inputs[0]].spec.shape;
  const bool kept = found.node(whole).spec.shape == kept_shape(x, attrs);
  return kept && std::has_single_bit(attrs.axes) ? std::countr_zero(attrs.axes) : -1;
}

MeanPattern::MeanPattern(const Pattern& x)
    : mean_(op("mean", x)),
      sum_(op("sum", x)),
      count_(number()),
      share_(number()),
      kept_(either(mean_, either(op("div", sum_, count_), op("mul", sum_, share_)))) {}

int MeanPattern::axis(const Found& found, const KeptPattern& kept) const {
  if (found.has(mean_)) return kept.axis(found, mean_);
  const int axis = kept.axis(found, sum_);
  if (axis < 0) return -1;
  const auto size = static_cast<double>(found.graph().nodes[found.node(sum_).inputs[0]].spec.shape[axis]);
  const bool is_mean =
      found.has(count_) ? found.value(count_) == size : is_about(found.value(share_), 1 / size);
  return is_mean ? axis : -1;
}

bool is_about(double value, double exact) {
  constexpr double rounding = 0x1p-23;
  return std::abs(value - exact) <= rounding * std::abs(exact);
}

}  // namespace wick
