#include <fmt/format.h>

#include "graph/record.h"
#include "ops/attributes.h"
#include "ops/axis.h"
#include "ops/helpers.h"
#include "ops/indices.h"
#include "wick/error.h"
#include "wick/ops/indexing.h"
#include "wick/ops/movement.h"

namespace wick {
namespace {

int axis_of(const Attrs& attrs) { return static_cast<int>(attrs.as<AxisAttrs>().axis); }

std::string describe(const Attrs& attrs) { return fmt::format("axis {}", axis_of(attrs)); }

void require_addable(InputSpecs inputs) {
  if (inputs[0].dtype == DType::bool_) throw DTypeError("it takes numeric dtypes, not bool; cast first");
}

Spec infer_index_add(InputSpecs inputs, const Attrs&) {
  const Spec& x = inputs[0];
  const Spec& indices = inputs[1];
  const Spec& updates = inputs[2];
  require_addable(inputs);
  require_index(indices.dtype);
  if (updates.dtype != x.dtype)
    throw DTypeError(
        fmt::format("the updates are {}, but x is {}", name_of(updates.dtype), name_of(x.dtype)));
  if (x.shape.rank() == 0) throw ShapeError("x needs a dimension to index");
  if (indices.shape.rank() != 1)
    throw ShapeError(fmt::format("the indices must have one dimension, not {}", indices.shape.str()));
  const Shape wanted = x.shape.with(0, indices.shape[0]);
  if (!(updates.shape == wanted))
    throw ShapeError(fmt::format("the updates must be {}, not {}", wanted.str(), updates.shape.str()));
  return x;
}

Spec infer_scatter(InputSpecs inputs, const Attrs& attrs) {
  const Spec& x = inputs[0];
  const Spec& indices = inputs[1];
  const Spec& updates = inputs[2];
  const int axis = checked_axis(x.shape, attrs.as<AxisAttrs>().axis);
  require_indices_along(x, indices, axis);
  if (updates.dtype != x.dtype)
    throw DTypeError(
        fmt::format("the updates are {}, but x is {}", name_of(updates.dtype), name_of(x.dtype)));
  if (!(updates.shape == indices.shape))
    throw ShapeError(fmt::format("the updates must have the shape of the indices, {}, not {}",
                                 indices.shape.str(), updates.shape.str()));
  return x;
}

Spec infer_scatter_add(InputSpecs inputs, const Attrs& attrs) {
  require_addable(inputs);
  return infer_scatter(inputs, attrs);
}

std::vector<Tensor> vjp_index_add(const VjpArgs& args) {
  std::vector<Tensor> gradients(3);
  if (args.needed[0]) gradients[0] = args.grad;
  if (args.needed[2]) gradients[2] = take(args.grad, args.inputs[1], 0);
  return gradients;
}

std::vector<Tensor> vjp_scatter_add(const VjpArgs& args) {
  std::vector<Tensor> gradients(3);
  if (args.needed[0]) gradients[0] = args.grad;
  if (args.needed[2]) gradients[2] = take_along_axis(args.grad, args.inputs[1], axis_of(args.attrs));
  return gradients;
}

/// Which updates survive, being the last at their place: scatter their own positions and see.
Tensor survivors(const Shape& x, const Tensor& indices, int axis) {
  const std::int64_t count = indices.dim(axis);
  std::vector<std::int64_t> dims(static_cast<std::size_t>(indices.rank()), 1);
  dims[static_cast<std::size_t>(axis)] = count;
  const Tensor order = broadcast_to(reshape(arange(count), dims), indices.shape());
  const Tensor last = scatter(zeros(x, DType::i64), indices, order, axis);
  return equal(take_along_axis(last, indices, axis), order);
}

std::vector<Tensor> vjp_scatter(const VjpArgs& args) {
  const int axis = axis_of(args.attrs);
  const Tensor& indices = args.inputs[1];
  std::vector<Tensor> gradients(3);
  if (args.needed[0])
    gradients[0] = scatter(args.grad, indices, zeros(indices.shape(), args.grad.dtype()), axis);
  if (args.needed[2])
    gradients[2] =
        where(survivors(args.inputs[0].shape(), indices, axis), take_along_axis(args.grad, indices, axis), 0);
  return gradients;
}

double one_an_update(InputSpecs inputs, const Spec&, const Attrs&) {
  return static_cast<double>(inputs[2].shape.elements());
}

/// The elements that the indices name are read and written, and all of x where it has to be copied first.
double bytes(InputSpecs inputs, const Spec& output, const Attrs&, bool in_place) {
  return 3 * bytes_of(inputs[2]) + bytes_of(inputs[1]) + (in_place ? 0 : 2 * bytes_of(output));
}

const Op index_add_op{.name = "index_add",
                      .infer = infer_index_add,
                      .vjp = vjp_index_add,
                      .flops = one_an_update,
                      .bytes = bytes};
const Op scatter_add_op{.name = "scatter_add",
                        .infer = infer_scatter_add,
                        .vjp = vjp_scatter_add,
                        .describe = describe,
                        .flops = one_an_update,
                        .bytes = bytes};
const Op scatter_op{
    .name = "scatter", .infer = infer_scatter, .vjp = vjp_scatter, .describe = describe, .bytes = bytes};

}  // namespace

Tensor index_add(const Tensor& x, const Tensor& indices, const Tensor& updates, SourceLocation where) {
  return record(index_add_op, {x, indices, updates}, AxisAttrs{0}, where);
}

Tensor scatter_add(const Tensor& x, const Tensor& indices, const Tensor& updates, int axis,
                   SourceLocation where) {
  return record(scatter_add_op, {x, indices, updates}, AxisAttrs{front_axis(x, axis)}, where);
}

Tensor scatter(const Tensor& x, const Tensor& indices, const Tensor& updates, int axis,
               SourceLocation where) {
  return record(scatter_op, {x, indices, updates}, AxisAttrs{front_axis(x, axis)}, where);
}

}  // namespace wick
