#include <fmt/format.h>

#include "graph/record.h"
#include "ops/attributes.h"
#include "ops/axis.h"
#include "ops/helpers.h"
#include "wick/error.h"
#include "wick/ops/indexing.h"
#include "wick/ops/movement.h"

namespace wick {
namespace {

Spec infer(InputSpecs inputs, const Attrs& attrs) {
  const Spec& x = inputs[0];
  const Spec& update = inputs[1];
  const Spec& start = inputs[2];
  require_same_dtype(inputs.first(2));
  const int axis = checked_axis(x.shape, attrs.as<AxisAttrs>().axis);
  const bool fits = update.shape.rank() == x.shape.rank() && update.shape[axis] <= x.shape[axis] &&
                    update.shape.with(axis, x.shape[axis]) == x.shape;
  if (!fits)
    throw ShapeError(
        fmt::format("the update {} must have the shape of x, {}, and be no longer in dimension {}",
                    update.shape.str(), x.shape.str(), axis));
  if (start.dtype != DType::i64 && start.dtype != DType::i32)
    throw DTypeError(fmt::format("the start must be i32 or i64, not {}", name_of(start.dtype)));
  if (start.shape.rank() != 0)
    throw ShapeError(fmt::format("the start must be a rank-0 tensor, not {}", start.shape.str()));
  return x;
}

/// The window's elements of the gradient. What `start` means is only known when the op is evaluated.
Tensor window(const Tensor& grad, const Tensor& start, std::int64_t count, int axis) {
  const std::int64_t last = grad.dim(axis) - count;
  return take(grad, minimum(maximum(start, 0), last) + arange(count), axis);
}

std::vector<Tensor> vjp(const VjpArgs& args) {
  const int axis = static_cast<int>(args.attrs.as<AxisAttrs>().axis);
  const Tensor& update = args.inputs[1];
  const Tensor& start = args.inputs[2];
  std::vector<Tensor> gradients(3);
  if (args.needed[0])
    gradients[0] = slice_update(args.grad, zeros(update.shape(), update.dtype()), start, axis);
  if (args.needed[1]) gradients[1] = window(args.grad, start, update.dim(axis), axis);
  return gradients;
}

const Op slice_update_op{
    .name = "slice_update",
    .infer = infer,
    .vjp = vjp,
    .describe = [](const Attrs& attrs) -> std::string {
      return fmt::format("axis {}", attrs.as<AxisAttrs>().axis);
    },
    .bytes = [](InputSpecs inputs, const Spec& output, const Attrs&,
                bool in_place) { return 2 * bytes_of(in_place ? inputs[1] : output) + bytes_of(inputs[2]); },
};

}  // namespace

Tensor slice_update(const Tensor& x, const Tensor& update, const Tensor& start, int axis,
                    SourceLocation where) {
  return record(slice_update_op, {x, update, start}, AxisAttrs{front_axis(x, axis)}, where);
}

}  // namespace wick
