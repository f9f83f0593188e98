#include "ops/reduce_shapes.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "ops/axis.h"
#include "wick/error.h"
#include "wick/ops/movement.h"

namespace wick {

ReduceAttrs reduce_attrs(std::string_view op, const Tensor& x, const std::vector<int>& axes, bool keep,
                         SourceLocation where) {
  ReduceAttrs attrs{0, keep ? 1u : 0u};
  if (!x.defined()) return attrs;
  if (axes.empty()) attrs.axes = (1u << x.rank()) - 1;
  for (int axis : axes) {
    const std::int64_t front = front_axis(x, axis);
    if (front < 0 || front >= x.rank())
      refuse<ShapeError>(op, x, fmt::format("axis {} is out of range", axis), where);
    if (attrs.reduces(static_cast<int>(front)))
      refuse<ShapeError>(op, x, fmt::format("axis {} is named twice in ({})", axis, fmt::join(axes, ", ")),
                         where);
    attrs.axes |= 1u << front;
  }
  return attrs;
}

Shape reduced_shape(const Shape& shape, const ReduceAttrs& attrs) {
  Shape result = kept_shape(shape, attrs);
  if (attrs.keep) return result;
  for (int axis = shape.rank() - 1; axis >= 0; --axis)
    if (attrs.reduces(axis)) result = result.without(axis);
  return result;
}

Shape kept_shape(const Shape& shape, const ReduceAttrs& attrs) {
  Shape result = shape;
  for (int axis = 0; axis < shape.rank(); ++axis)
    if (attrs.reduces(axis)) result = result.with(axis, 1);
  return result;
}

std::vector<int> axes_of(const ReduceAttrs& attrs) {
  std::vector<int> axes;
  for (int axis = 0; axis < max_rank; ++axis)
    if (attrs.reduces(axis)) axes.push_back(axis);
  return axes;
}

std::int64_t reduced_count(const Shape& shape, const ReduceAttrs& attrs) {
  std::int64_t count = 1;
  for (int axis : axes_of(attrs)) count *= shape[axis];
  return count;
}

std::string describe_reduction(const ReduceAttrs& attrs) {
  return fmt::format("axes ({}){}", fmt::join(axes_of(attrs), ", "), attrs.keep ? ", kept" : "");
}

Tensor spread_reduced(const Tensor& reduced, const Shape& shape, const ReduceAttrs& attrs) {
  return broadcast_to(reshape(reduced, kept_shape(shape, attrs)), shape);
}

}  // namespace wick
