#include <fmt/format.h>

#include "graph/record.h"
#include "ops/helpers.h"
#include "wick/error.h"
#include "wick/ops/movement.h"

namespace wick {
namespace {

constexpr Op where_op{
    .name = "where",
    .infer = [](InputSpecs inputs, const Attrs&) -> Spec {
      if (inputs[0].dtype != DType::bool_)
        throw DTypeError(fmt::format("the condition must be bool, but is {}", name_of(inputs[0].dtype)));
      require_same_dtype(inputs.subspan(1));
      return {broadcast_shapes(inputs[0].shape, broadcast_shapes(inputs[1].shape, inputs[2].shape)),
              inputs[1].dtype};
    },
    .vjp = [](const VjpArgs& args) -> std::vector<Tensor> {
      const Tensor& condition = args.inputs[0];
      std::vector<Tensor> gradients(3);
      if (args.needed[1]) gradients[1] = sum_to(where(condition, args.grad, 0), args.inputs[1].shape());
      if (args.needed[2]) gradients[2] = sum_to(where(condition, 0, args.grad), args.inputs[2].shape());
      return gradients;
    },
    .elementwise = true,
};

}  // namespace

Tensor where(const Tensor& condition, const Operand& a, const Operand& b) {
  const Promoted branches = promote_operands(a, b);
  return record(where_op, {condition, branches.a, branches.b}, {}, a.where());
}

}  // namespace wick
