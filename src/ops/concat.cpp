#include <fmt/format.h>

#include "graph/record.h"
#include "ops/attributes.h"
#include "ops/axis.h"
#include "ops/helpers.h"
#include "wick/error.h"
#include "wick/ops/movement.h"

namespace wick {
namespace {

bool equal_but_for(int axis, const Shape& a, const Shape& b) {
  if (a.rank() != b.rank()) return false;
  for (int d = 0; d < a.rank(); ++d)
    if (d != axis && a[d] != b[d]) return false;
  return true;
}

Spec infer(InputSpecs inputs, const Attrs& attrs) {
  if (inputs.empty()) throw ArgumentError("there is nothing to join; give at least one tensor");
  require_same_dtype(inputs);
  const Shape& first = inputs[0].shape;
  const int axis = checked_axis(first, attrs.as<AxisAttrs>().axis);
  std::int64_t total = 0;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const Shape& shape = inputs[i].shape;
    if (!equal_but_for(axis, first, shape))
      throw ShapeError(
          fmt::format("part {} has shape {}, but part 0 has {}; they may differ in dimension {} only", i,
                      shape.str(), first.str(), axis));
    total += shape[axis];
  }
  return {first.with(axis, total), inputs[0].dtype};
}

std::vector<Tensor> vjp(const VjpArgs& args) {
  const int axis = static_cast<int>(args.attrs.as<AxisAttrs>().axis);
  std::vector<Tensor> gradients(args.inputs.size());
  std::int64_t start = 0;
  for (std::size_t i = 0; i < args.inputs.size(); ++i) {
    const std::int64_t stop = start + args.inputs[i].dim(axis);
    if (args.needed[i]) gradients[i] = slice(args.grad, axis, start, stop);
    start = stop;
  }
  return gradients;
}

const Op concat_op{
    .name = "concat",
    .infer = infer,
    .vjp = vjp,
    .describe = [](const Attrs& attrs) -> std::string {
      return fmt::format("axis {}", attrs.as<AxisAttrs>().axis);
    },
};

}  // namespace

Tensor concat(std::span<const Tensor> parts, int axis, SourceLocation where) {
  std::vector<Tensor> same(parts.begin(), parts.end());
  DType dtype = DType::bool_;
  for (const Tensor& part : parts)
    if (part.defined()) dtype = promote(dtype, part.dtype());
  for (Tensor& part : same)
    if (part.defined()) part = cast_to(part, dtype, where);
  const std::int64_t front = parts.empty() ? axis : front_axis(parts[0], axis);
  return record(concat_op, same, AxisAttrs{front}, where);
}

Tensor concat(const std::vector<Tensor>& parts, int axis, SourceLocation where) {
  return concat(std::span<const Tensor>(parts), axis, where);
}

}  // namespace wick
