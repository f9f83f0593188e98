#include "wick/ops/reduce.h"

#include <fmt/format.h>

#include "graph/record.h"
#include "ops/helpers.h"
#include "ops/reduce_shapes.h"
#include "ops/widen.h"
#include "wick/error.h"

namespace wick {
namespace {

Spec infer_sum(InputSpecs inputs, const Attrs& attrs) {
  const DType dtype = inputs[0].dtype;
  const bool small = dtype == DType::bool_ || dtype == DType::u8;
  return {reduced_shape(inputs[0].shape, attrs.as<ReduceAttrs>()), small ? DType::i64 : dtype};
}

std::vector<Tensor> vjp_sum(const VjpArgs& args) {
  return {spread_reduced(args.grad, args.inputs[0].shape(), args.attrs.as<ReduceAttrs>())};
}

Spec infer_extremum(InputSpecs inputs, const Attrs& attrs) {
  const auto a = attrs.as<ReduceAttrs>();
  const Spec& x = inputs[0];
  if (reduced_count(x.shape, a) == 0)
    throw ShapeError(
        fmt::format("nothing to choose from: {} is empty along {}", x.shape.str(), describe_reduction(a)));
  return {reduced_shape(x.shape, a), x.dtype};
}

std::vector<Tensor> vjp_extremum(const VjpArgs& args) {
  const auto a = args.attrs.as<ReduceAttrs>();
  const Tensor& x = args.inputs[0];
  const DType wide = wide_dtype(x.dtype());
  const Tensor chosen = equal(x, spread_reduced(args.output, x.shape(), a));
  const Tensor ties = sum(cast(chosen, wide), axes_of(a), a.keep != 0);
  const Tensor share = cast_to(widen(args.grad) / ties, x.dtype());
  return {where(chosen, spread_reduced(share, x.shape(), a), 0)};
}

std::string describe(const Attrs& attrs) { return describe_reduction(attrs.as<ReduceAttrs>()); }

constexpr Op extremum(std::string_view name) {
  return {.name = name,
          .infer = infer_extremum,
          .vjp = vjp_extremum,
          .describe = describe,
          .flops = one_an_input_element};
}

const Op sum_op{
    .name = "sum", .infer = infer_sum, .vjp = vjp_sum, .describe = describe, .flops = one_an_input_element};
const Op max_op = extremum("max");
const Op min_op = extremum("min");

Tensor reduce(const Op& op, const Tensor& x, const std::vector<int>& axes, bool keep, SourceLocation where) {
  return record(op, {x}, reduce_attrs(op.name, x, axes, keep, where), where);
}

}  // namespace

Tensor sum(const Tensor& x, const std::vector<int>& axes, bool keep, SourceLocation where) {
  return reduce(sum_op, x, axes, keep, where);
}

Tensor max(const Tensor& x, const std::vector<int>& axes, bool keep, SourceLocation where) {
  return reduce(max_op, x, axes, keep, where);
}

Tensor min(const Tensor& x, const std::vector<int>& axes, bool keep, SourceLocation where) {
  return reduce(min_op, x, axes, keep, where);
}

}  // namespace wick
