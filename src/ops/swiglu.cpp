#include "graph/record.h"
#include "ops/helpers.h"
#include "ops/widen.h"
#include "wick/error.h"
#include "wick/ops/nn.h"

namespace wick {
namespace {

Spec infer(InputSpecs inputs, const Attrs&) {
  require_floating(inputs[0].dtype);
  require_same_dtype(inputs);
  if (!(inputs[0].shape == inputs[1].shape)) throw ShapeError("gate and up must have one shape");
  return inputs[0];
}

Tensor decompose(Inputs inputs, const Attrs&) { return silu(inputs[0]) * inputs[1]; }

std::vector<Tensor> vjp(const VjpArgs& args) {
  const DType dtype = args.output.dtype();
  const Tensor gate = widen(args.inputs[0]);
  const Tensor grad = widen(args.grad);
  const Tensor s = sigmoid(gate);
  const Tensor activated = gate * s;
  std::vector<Tensor> gradients(2);
  // silu' = s + gate s (1 - s)
  if (args.needed[0])
    gradients[0] = cast_to(grad * widen(args.inputs[1]) * (s + activated * (1.0 - s)), dtype);
  if (args.needed[1]) gradients[1] = cast_to(grad * activated, dtype);
  return gradients;
}

const Op swiglu_op{.name = "swiglu", .infer = infer, .decompose = decompose, .vjp = vjp, .elementwise = true};

}  // namespace

Tensor swiglu(const Tensor& gate, const Tensor& up, SourceLocation where) {
  return record(swiglu_op, {gate, up}, {}, where);
}

}  // namespace wick
