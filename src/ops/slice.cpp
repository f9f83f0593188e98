#include <fmt/format.h>

#include <algorithm>

#include "graph/record.h"
#include "ops/attributes.h"
#include "ops/axis.h"
#include "ops/reverse.h"
#include "wick/error.h"
#include "wick/ops/movement.h"

namespace wick {
namespace {

Spec infer(InputSpecs inputs, const Attrs& attrs) {
  const auto a = attrs.as<SliceAttrs>();
  const int axis = checked_axis(inputs[0].shape, a.axis);
  if (a.step == 0) throw ArgumentError("the step must not be 0");
  return {inputs[0].shape.with(axis, a.count), inputs[0].dtype};
}

std::optional<Layout> view(const Layout& input, const Spec& output, const Attrs& attrs) {
  const auto a = attrs.as<SliceAttrs>();
  Layout result{output.shape, input.strides, input.offset};
  std::int64_t& stride = result.strides[static_cast<std::size_t>(a.axis)];
  if (a.count > 0) result.offset += a.start * stride;
  stride *= a.step;
  return result;
}

/// x with step - 1 zeros between neighbours along `axis`.
Tensor spread(const Tensor& x, int axis, std::int64_t step) {
  const Shape& shape = x.shape();
  const std::int64_t count = shape[axis];
  const std::int64_t outer = shape.slice(0, axis).elements();
  const std::int64_t inner = shape.slice(axis + 1, shape.rank()).elements();
  const Tensor spaced =
      reshape(pad(reshape(x, {outer, count, 1, inner}), 2, 0, step - 1), {outer, count * step, inner});
  return reshape(slice(spaced, 1, 0, (count - 1) * step + 1), shape.with(axis, (count - 1) * step + 1));
}

/// Zeros, with the gradient where the elements came from.
std::vector<Tensor> vjp(const VjpArgs& args) {
  const auto a = args.attrs.as<SliceAttrs>();
  const int axis = static_cast<int>(a.axis);
  const Shape& shape = args.inputs[0].shape();
  if (args.grad.elements() == 0) return {zeros(shape, args.grad.dtype())};
  const std::int64_t last = a.start + (a.count - 1) * a.step;
  const std::int64_t low = std::min(a.start, last);
  const std::int64_t high = std::max(a.start, last);
  Tensor grad = a.step < 0 ? reversed(args.grad, axis) : args.grad;
  if (std::abs(a.step) > 1) grad = spread(grad, axis, std::abs(a.step));
  return {pad(grad, axis, low, shape[axis] - 1 - high)};
}

const Op slice_op{
    .name = "slice",
    .infer = infer,
    .vjp = vjp,
    .view = view,
    .describe = [](const Attrs& attrs) -> std::string {
      const auto a = attrs.as<SliceAttrs>();
      return fmt::format("axis {}, start {}, step {}, count {}", a.axis, a.start, a.step, a.count);
    },
};

/// Python's rule for start, stop and step (https://docs.python.org/3/reference/datamodel.html#slice.indices).
SliceAttrs normalized(std::int64_t axis, std::int64_t size, std::int64_t start, std::int64_t stop,
                      std::int64_t step) {
  const std::int64_t first = step < 0 ? -1 : 0;
  const std::int64_t limit = step < 0 ? size - 1 : size;
  const auto within = [&](std::int64_t i) { return std::clamp(i < 0 ? i + size : i, first, limit); };
  start = within(start);
  stop = within(stop);
  constexpr std::int64_t longest = std::int64_t{1} << 62;
  step = std::clamp(step, -longest, longest);
  const std::int64_t span = step < 0 ? start - stop : stop - start;
  const std::int64_t count = span > 0 ? (span - 1) / std::abs(step) + 1 : 0;
  if (count == 0) start = 0;
  if (count <= 1) step = 1;
  return {axis, start, step, count};
}

}  // namespace

Tensor slice(const Tensor& x, int axis, std::int64_t start, std::int64_t stop, std::int64_t step,
             SourceLocation where) {
  SliceAttrs attrs{front_axis(x, axis), start, step, 0};
  const bool valid = x.defined() && attrs.axis >= 0 && attrs.axis < x.rank() && step != 0;
  if (valid) {
    const std::int64_t size = x.dim(axis);
    attrs = normalized(attrs.axis, size, start, stop, step);
    if (attrs.count == size && attrs.step == 1) return x;
  }
  return record(slice_op, {x}, attrs, where);
}

}  // namespace wick
