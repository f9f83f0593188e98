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

Spec infer_take(InputSpecs inputs, const Attrs& attrs) {
  const Shape& x = inputs[0].shape;
  const Shape& indices = inputs[1].shape;
  const int axis = checked_axis(x, attrs.as<AxisAttrs>().axis);
  require_index(inputs[1].dtype);
  std::vector<std::int64_t> dims;
  const auto append = [&](const Shape& part) {
    dims.insert(dims.end(), part.dims().begin(), part.dims().end());
  };
  append(x.slice(0, axis));
  append(indices);
  append(x.slice(axis + 1, x.rank()));
  return {Shape(std::span<const std::int64_t>(dims)), inputs[0].dtype};
}

/// The order of dimensions that brings the block [begin, begin + count) to the front.
std::vector<int> block_first(int rank, int begin, int count) {
  std::vector<int> order;
  for (int d = begin; d < begin + count; ++d) order.push_back(d);
  for (int d = 0; d < rank; ++d)
    if (d < begin || d >= begin + count) order.push_back(d);
  return order;
}

/// The order that brings dimension 0 to position `axis`.
std::vector<int> first_to(int rank, int axis) {
  std::vector<int> order;
  for (int d = 1; d < rank; ++d) order.push_back(d);
  order.insert(order.begin() + axis, 0);
  return order;
}

/// Zeros, with the gradients of each taken slice added: along axis 0, where index_add works.
std::vector<Tensor> vjp_take(const VjpArgs& args) {
  const int axis = axis_of(args.attrs);
  const Shape& x = args.inputs[0].shape();
  const Tensor& indices = args.inputs[1];
  const Tensor grad = permute(args.grad, block_first(args.grad.rank(), axis, indices.rank()));
  std::vector<std::int64_t> dims(grad.shape().dims().begin() + indices.rank(), grad.shape().dims().end());
  dims.insert(dims.begin(), indices.elements());
  const Shape updates{std::span<const std::int64_t>(dims)};
  const Tensor sums = index_add(zeros(updates.with(0, x[axis]), grad.dtype()),
                                reshape(indices, Shape{indices.elements()}), reshape(grad, updates));
  return {permute(sums, first_to(x.rank(), axis)), {}};
}

/// Those rows only that the indices name.
double bytes(InputSpecs inputs, const Spec& output, const Attrs&, bool) {
  return 2 * bytes_of(output) + bytes_of(inputs[1]);
}

const Op take_op{.name = "take", .infer = infer_take, .vjp = vjp_take, .describe = describe, .bytes = bytes};

Spec infer_along(InputSpecs inputs, const Attrs& attrs) {
  const int axis = checked_axis(inputs[0].shape, attrs.as<AxisAttrs>().axis);
  require_indices_along(inputs[0], inputs[1], axis);
  return {inputs[1].shape, inputs[0].dtype};
}

std::vector<Tensor> vjp_along(const VjpArgs& args) {
  const Tensor& x = args.inputs[0];
  return {scatter_add(zeros(x.shape(), x.dtype()), args.inputs[1], args.grad, axis_of(args.attrs)), {}};
}

const Op take_along_axis_op{
    .name = "take_along_axis", .infer = infer_along, .vjp = vjp_along, .describe = describe, .bytes = bytes};

}  // namespace

Tensor take(const Tensor& x, const Tensor& indices, int axis, SourceLocation where) {
  return record(take_op, {x, indices}, AxisAttrs{front_axis(x, axis)}, where);
}

Tensor embedding(const Tensor& table, const Tensor& ids, SourceLocation where) {
  if (table.rank() != 2) refuse<ShapeError>("embedding", table, "the table must be [vocabulary, dim]", where);
  return take(table, ids, 0, where);
}

Tensor take_along_axis(const Tensor& x, const Tensor& indices, int axis, SourceLocation where) {
  return record(take_along_axis_op, {x, indices}, AxisAttrs{front_axis(x, axis)}, where);
}

}  // namespace wick
