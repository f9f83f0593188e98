#include <fmt/format.h>

#include "graph/record.h"
#include "ops/helpers.h"
#include "wick/error.h"
#include "wick/ops/elementwise.h"
#include "wick/ops/movement.h"
#include "wick/ops/reduce.h"

namespace wick {
namespace {

Spec infer(InputSpecs inputs, const Attrs&) {
  if (inputs.empty()) throw ArgumentError("there is nothing to sum; give at least one tensor");
  require_same_dtype(inputs);
  const DType dtype = inputs[0].dtype;
  if (dtype != DType::f32 && dtype != DType::f64)
    throw DTypeError(fmt::format("the tensors must be f32 or f64, not {}", name_of(dtype)));
  return {Shape{}, dtype};
}

Tensor decompose(Inputs inputs, const Attrs&) {
  std::vector<Tensor> sums;
  sums.reserve(inputs.size());
  for (const Tensor& x : inputs) sums.push_back(expand_dims(sum(square(x)), 0));
  return sum(concat(sums, 0));
}

std::vector<Tensor> vjp(const VjpArgs& args) {
  std::vector<Tensor> gradients(args.inputs.size());
  for (std::size_t i = 0; i < args.inputs.size(); ++i)
    if (args.needed[i]) gradients[i] = args.inputs[i] * (2.0 * args.grad);
  return gradients;
}

const Op sum_of_squares_op{
    .name = "sum_of_squares",
    .infer = infer,
    .decompose = decompose,
    .vjp = vjp,
    .flops = [](InputSpecs inputs, const Spec&, const Attrs&) -> double {
      double elements = 0;
      for (const Spec& input : inputs) elements += static_cast<double>(input.shape.elements());
      return 2 * elements;
    },
};

}  // namespace

Tensor sum_of_squares(std::span<const Tensor> tensors, SourceLocation where) {
  return record(sum_of_squares_op, tensors, {}, where);
}

}  // namespace wick
