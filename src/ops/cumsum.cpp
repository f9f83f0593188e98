#include <fmt/format.h>

#include "graph/record.h"
#include "ops/attributes.h"
#include "ops/axis.h"
#include "ops/helpers.h"
#include "ops/reverse.h"
#include "wick/error.h"
#include "wick/ops/reduce.h"

namespace wick {
namespace {

const Op cumsum_op{
    .name = "cumsum",
    .infer = [](InputSpecs inputs, const Attrs& attrs) -> Spec {
      if (inputs[0].dtype == DType::bool_) throw DTypeError("it takes numeric dtypes, not bool; cast first");
      checked_axis(inputs[0].shape, attrs.as<AxisAttrs>().axis);
      return inputs[0];
    },
    .vjp = [](const VjpArgs& args) -> std::vector<Tensor> {
      const int axis = static_cast<int>(args.attrs.as<AxisAttrs>().axis);
      return {reversed(cumsum(reversed(args.grad, axis), axis), axis)};
    },
    .describe = [](const Attrs& attrs) -> std::string {
      return fmt::format("axis {}", attrs.as<AxisAttrs>().axis);
    },
    .flops = one_an_input_element,
};

}  // namespace

Tensor cumsum(const Tensor& x, int axis, SourceLocation where) {
  return record(cumsum_op, {x}, AxisAttrs{front_axis(x, axis)}, where);
}

}  // namespace wick
