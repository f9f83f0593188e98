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

/// The gradients are ops of their own: they are computed from gate and up alone, whatever the forward
/// computed on its way.
Spec infer_gradient(InputSpecs inputs, const Attrs&) { return inputs[0]; }

/// silu' = s + gate s (1 - s). Inputs are gate, up and the gradient of the result.
Tensor decompose_gate_gradient(Inputs inputs, const Attrs&) {
  const Tensor gate = widen(inputs[0]);
  const Tensor s = sigmoid(gate);
  return cast_to(widen(inputs[2]) * widen(inputs[1]) * (s + gate * s * (1.0 - s)), inputs[0].dtype());
}

/// Inputs are gate and the gradient of the result.
Tensor decompose_up_gradient(Inputs inputs, const Attrs&) {
  const Tensor gate = widen(inputs[0]);
  return cast_to(widen(inputs[1]) * (gate * sigmoid(gate)), inputs[0].dtype());
}

const Op gate_gradient_op{.name = "swiglu_gate_gradient",
                          .infer = infer_gradient,
                          .decompose = decompose_gate_gradient,
                          .elementwise = true};
const Op up_gradient_op{.name = "swiglu_up_gradient",
                        .infer = infer_gradient,
                        .decompose = decompose_up_gradient,
                        .elementwise = true};

std::vector<Tensor> vjp(const VjpArgs& args) {
  const Tensor& gate = args.inputs[0];
  std::vector<Tensor> gradients(2);
  if (args.needed[0]) gradients[0] = record(gate_gradient_op, {gate, args.inputs[1], args.grad}, {}, {});
  if (args.needed[1]) gradients[1] = record(up_gradient_op, {gate, args.grad}, {}, {});
  return gradients;
}

const Op swiglu_op{.name = "swiglu", .infer = infer, .decompose = decompose, .vjp = vjp, .elementwise = true};

}  // namespace

Tensor swiglu(const Tensor& gate, const Tensor& up, SourceLocation where) {
  return record(swiglu_op, {gate, up}, {}, where);
}

}  // namespace wick
