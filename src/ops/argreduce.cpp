#include <fmt/format.h>

#include "graph/record.h"
#include "ops/attributes.h"
#include "ops/axis.h"
#include "ops/helpers.h"
#include "wick/error.h"
#include "wick/ops/reduce.h"

namespace wick {
namespace {

Spec infer(InputSpecs inputs, const Attrs& attrs) {
  const auto a = attrs.as<ArgReduceAttrs>();
  const Shape& shape = inputs[0].shape;
  const int axis = checked_axis(shape, a.axis);
  if (shape[axis] == 0)
    throw ShapeError(fmt::format("nothing to choose from: {} is empty along axis {}", shape.str(), axis));
  return {a.keep ? shape.with(axis, 1) : shape.without(axis), DType::i64};
}

constexpr Op arg_op(std::string_view name) {
  return {.name = name,
          .infer = infer,
          .describe = [](const Attrs& attrs) -> std::string {
            const auto a = attrs.as<ArgReduceAttrs>();
            return fmt::format("axis {}{}", a.axis, a.keep ? ", kept" : "");
          },
          .flops = one_an_input_element,
          .differentiable = false};
}

const Op argmax_op = arg_op("argmax");
const Op argmin_op = arg_op("argmin");

}  // namespace

Tensor argmax(const Tensor& x, int axis, bool keep, SourceLocation where) {
  return record(argmax_op, {x}, ArgReduceAttrs{front_axis(x, axis), keep}, where);
}

Tensor argmin(const Tensor& x, int axis, bool keep, SourceLocation where) {
  return record(argmin_op, {x}, ArgReduceAttrs{front_axis(x, axis), keep}, where);
}

}  // namespace wick
