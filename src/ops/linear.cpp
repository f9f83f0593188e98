#include <fmt/format.h>

#include "graph/record.h"
#include "ops/helpers.h"
#include "ops/linear_shapes.h"
#include "wick/error.h"
#include "wick/ops/linalg.h"
#include "wick/ops/movement.h"
#include "wick/ops/reduce.h"

namespace wick {
namespace {

Spec infer(InputSpecs inputs, const Attrs&) { return infer_linear(inputs[0], inputs[1], inputs.subspan(2)); }

Tensor decompose(Inputs inputs, const Attrs&) {
  const Tensor& x = inputs[0];
  Tensor y = matmul(x, transpose(cast_to(inputs[1], x.dtype())));
  if (inputs.size() > 2) y = y + cast_to(inputs[2], x.dtype());
  return y;
}

std::vector<Tensor> vjp(const VjpArgs& args) {
  const Tensor& x = args.inputs[0];
  const Tensor& weight = args.inputs[1];
  std::vector<Tensor> gradients(args.inputs.size());
  if (args.needed[0]) gradients[0] = matmul(args.grad, cast_to(weight, x.dtype()));
  if (args.needed[1])
    gradients[1] = cast_to(matmul(transpose(flat_rows(args.grad)), flat_rows(x)), weight.dtype());
  if (args.inputs.size() > 2 && args.needed[2])
    gradients[2] = cast_to(sum(flat_rows(args.grad), {0}), args.inputs[2].dtype());
  return gradients;
}

double flops(InputSpecs inputs, const Spec&, const Attrs&) {
  return linear_flops(inputs[0], inputs[1], inputs.size() > 2);
}

const Op linear_op{.name = "linear", .infer = infer, .decompose = decompose, .vjp = vjp, .flops = flops};

}  // namespace

Spec infer_linear(const Spec& x, const Spec& weight, InputSpecs bias) {
  require_floating(x.dtype);
  require_floating(weight.dtype);
  if (x.shape.rank() < 1) throw ShapeError("x must be [..., in], a rank-0 tensor has no features");
  if (weight.shape.rank() != 2)
    throw ShapeError(fmt::format("the weight must be [out, in], not {}", weight.shape.str()));
  if (x.shape.dim(-1) != weight.shape[1])
    throw ShapeError(fmt::format("x has {} features, the weight takes {}", x.shape.dim(-1), weight.shape[1]));
  if (!bias.empty()) {
    require_floating(bias[0].dtype);
    if (!(bias[0].shape == Shape{weight.shape[0]}))
      throw ShapeError(fmt::format("the bias must be [{}] as the weight has {} rows, not {}", weight.shape[0],
                                   weight.shape[0], bias[0].shape.str()));
  }
  return {x.shape.with(-1, weight.shape[0]), x.dtype};
}

Spec untransposed(const Spec& matrix, bool transposed) {
  if (!transposed || matrix.shape.rank() != 2) return matrix;
  return {Shape{matrix.shape[1], matrix.shape[0]}, matrix.dtype};
}

double linear_flops(const Spec& x, const Spec& weight, bool has_bias) {
  const double rows = static_cast<double>(x.shape.without(-1).elements());
  return rows * static_cast<double>(2 * weight.shape.elements() + (has_bias ? weight.shape[0] : 0));
}

Tensor flat_rows(const Tensor& x) {
  if (x.rank() == 2) return x;
  return reshape(x, Shape{x.shape().slice(0, x.rank() - 1).elements(), x.dim(-1)});
}

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias, SourceLocation where) {
  if (!bias.defined()) return record(linear_op, {x, weight}, {}, where);
  return record(linear_op, {x, weight, bias}, {}, where);
}

}  // namespace wick
