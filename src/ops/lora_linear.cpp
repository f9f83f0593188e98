#include <fmt/format.h>

#include "graph/record.h"
#include "ops/attributes.h"
#include "ops/helpers.h"
#include "ops/linear_shapes.h"
#include "ops/lora_parts.h"
#include "wick/error.h"
#include "wick/ops/linalg.h"
#include "wick/ops/movement.h"
#include "wick/ops/reduce.h"

namespace wick {
namespace {

/// Inputs are x, weight, [bias,] a, b.
template <typename T>
struct Operands {
  Operands(std::span<const T> inputs, const Attrs& attrs)
      : x(inputs[0]),
        weight(inputs[1]),
        bias(inputs.subspan(2, attrs.as<LoraAttrs>().has_bias ? 1 : 0)),
        a(inputs[inputs.size() - 2]),
        b(inputs[inputs.size() - 1]) {}
  const T& x;
  const T& weight;
  std::span<const T> bias;
  const T& a;
  const T& b;
};

Spec infer(InputSpecs inputs, const Attrs& attrs) {
  const Operands<Spec> in(inputs, attrs);
  const Spec output = infer_linear(in.x, in.weight, in.bias);
  require_floating(in.a.dtype);
  if (in.a.dtype != in.b.dtype)
    throw DTypeError(fmt::format("the adapter's matrices must have one dtype, not {} and {}",
                                 name_of(in.a.dtype), name_of(in.b.dtype)));
  const std::int64_t features_in = in.weight.shape[1];
  const std::int64_t features_out = in.weight.shape[0];
  if (in.a.shape.rank() != 2 || in.a.shape[1] != features_in)
    throw ShapeError(
        fmt::format("the adapter's a must be [rank, {}], not {}", features_in, in.a.shape.str()));
  if (!(in.b.shape == Shape{features_out, in.a.shape[0]}))
    throw ShapeError(fmt::format("the adapter's b must be [{}, {}], not {}", features_out, in.a.shape[0],
                                 in.b.shape.str()));
  return output;
}

/// scale x A^T. The scale is applied where the rank makes it cheap; forward and backward record the same
/// node, so that it is computed once.
Tensor scaled_projection(const Operands<Tensor>& in, const Attrs& attrs) {
  return lora_projection(in.x, in.a, attrs.as<LoraAttrs>().scale, false);
}

Tensor decompose(Inputs inputs, const Attrs& attrs) {
  const Operands<Tensor> in(inputs, attrs);
  return lora_update(in.x, in.weight, in.bias.empty() ? Tensor{} : in.bias[0], scaled_projection(in, attrs),
                     in.b, false);
}

std::vector<Tensor> vjp(const VjpArgs& args) {
  const Operands<Tensor> in(args.inputs, args.attrs);
  const std::size_t at_a = args.inputs.size() - 2;
  const std::size_t at_b = at_a + 1;
  const Tensor grad = flat_rows(args.grad);
  std::vector<Tensor> gradients(args.inputs.size());

  if (args.needed[at_b]) gradients[at_b] = lora_gradient(args.grad, scaled_projection(in, args.attrs), false);
  if (args.needed[0] || args.needed[at_a]) {
    const Tensor inner = lora_projection(args.grad, in.b, args.attrs.as<LoraAttrs>().scale, true);
    if (args.needed[at_a]) gradients[at_a] = lora_gradient(in.x, inner, true);
    if (args.needed[0]) gradients[0] = lora_update(args.grad, in.weight, {}, inner, in.a, true);
  }
  if (args.needed[1]) gradients[1] = cast_to(matmul(transpose(grad), flat_rows(in.x)), in.weight.dtype());
  if (!in.bias.empty() && args.needed[2]) gradients[2] = cast_to(sum(grad, {0}), in.bias[0].dtype());
  return gradients;
}

std::string describe(const Attrs& attrs) { return fmt::format("scale={}", attrs.as<LoraAttrs>().scale); }

/// Base, both thin products, the scale at the rank, and the sum.
double flops(InputSpecs inputs, const Spec& output, const Attrs& attrs) {
  const Operands<Spec> in(inputs, attrs);
  const Spec low{in.x.shape.with(-1, in.a.shape[0]), in.a.dtype};
  return linear_flops(in.x, in.weight, !in.bias.empty()) + linear_flops(in.x, in.a, false) +
         linear_flops(low, in.b, false) + static_cast<double>(low.shape.elements() + output.shape.elements());
}

const Op lora_linear_op{.name = "lora_linear",
                        .infer = infer,
                        .decompose = decompose,
                        .vjp = vjp,
                        .describe = describe,
                        .flops = flops};

}  // namespace

Tensor lora_linear(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& a,
                   const Tensor& b, double scale, SourceLocation where) {
  const LoraAttrs attrs{scale, bias.defined() ? 1 : 0};
  if (!bias.defined()) return record(lora_linear_op, {x, weight, a, b}, attrs, where);
  return record(lora_linear_op, {x, weight, bias, a, b}, attrs, where);
}

}  // namespace wick
