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
      : scale(attrs.as<LoraAttrs>().scale),
        transposed(attrs.as<LoraAttrs>().transposed != 0),
        x(inputs[0]),
        weight(inputs[1]),
        bias(inputs.subspan(2, attrs.as<LoraAttrs>().has_bias ? 1 : 0)),
        a(inputs[inputs.size() - 2]),
        b(inputs[inputs.size() - 1]) {}
  double scale;
  bool transposed;
  const T& x;
  const T& weight;
  std::span<const T> bias;
  const T& a;
  const T& b;
};

void require_factors(const Spec& a, const Spec& b, std::int64_t features_in, std::int64_t features_out) {
  require_floating(a.dtype);
  if (a.dtype != b.dtype)
    throw DTypeError(fmt::format("the adapter's matrices must have one dtype, not {} and {}",
                                 name_of(a.dtype), name_of(b.dtype)));
  if (a.shape.rank() != 2 || a.shape[1] != features_in)
    throw ShapeError(fmt::format("the adapter's a must be [rank, {}], not {}", features_in, a.shape.str()));
  if (!(b.shape == Shape{features_out, a.shape[0]}))
    throw ShapeError(
        fmt::format("the adapter's b must be [{}, {}], not {}", features_out, a.shape[0], b.shape.str()));
}

Spec infer(InputSpecs inputs, const Attrs& attrs) {
  const Operands<Spec> in(inputs, attrs);
  const Spec weight = untransposed(in.weight, in.transposed);
  const Spec output = infer_linear(in.x, weight, in.bias);
  require_factors(untransposed(in.a, in.transposed), untransposed(in.b, in.transposed), weight.shape[1],
                  weight.shape[0]);
  return output;
}

/// scale x A^T. The scale is applied where the rank makes it cheap; forward and backward record the same
/// node, so that it is computed once.
Tensor scaled_projection(const Operands<Tensor>& in) {
  return lora_projection(in.x, in.a, in.scale, in.transposed);
}

Tensor decompose(Inputs inputs, const Attrs& attrs) {
  const Operands<Tensor> in(inputs, attrs);
  return lora_update(in.x, in.weight, in.bias.empty() ? Tensor{} : in.bias[0], scaled_projection(in), in.b,
                     in.transposed);
}

std::vector<Tensor> vjp(const VjpArgs& args) {
  const Operands<Tensor> in(args.inputs, args.attrs);
  const std::size_t at_a = args.inputs.size() - 2;
  const std::size_t at_b = at_a + 1;
  const Tensor grad = flat_rows(args.grad);
  std::vector<Tensor> gradients(args.inputs.size());

  if (args.needed[at_b]) gradients[at_b] = lora_gradient(args.grad, scaled_projection(in), in.transposed);
  if (args.needed[0] || args.needed[at_a]) {
    const Tensor inner = lora_projection(args.grad, in.b, in.scale, !in.transposed);
    if (args.needed[at_a]) gradients[at_a] = lora_gradient(in.x, inner, !in.transposed);
    if (args.needed[0]) gradients[0] = lora_update(args.grad, in.weight, {}, inner, in.a, !in.transposed);
  }
  if (args.needed[1]) {
    const Tensor x = flat_rows(in.x);
    const Tensor product = in.transposed ? matmul(transpose(x), grad) : matmul(transpose(grad), x);
    gradients[1] = cast_to(product, in.weight.dtype());
  }
  if (!in.bias.empty() && args.needed[2]) gradients[2] = cast_to(sum(grad, {0}), in.bias[0].dtype());
  return gradients;
}

std::string describe(const Attrs& attrs) {
  const auto options = attrs.as<LoraAttrs>();
  return fmt::format("scale={}{}", options.scale, options.transposed != 0 ? ", transposed" : "");
}

/// Base, both thin products, the scale at the rank, and the sum.
double flops(InputSpecs inputs, const Spec& output, const Attrs& attrs) {
  const Operands<Spec> in(inputs, attrs);
  const Spec low{in.x.shape.with(-1, in.a.shape[in.transposed ? 1 : 0]), in.a.dtype};
  return linear_flops(in.x, untransposed(in.weight, in.transposed), !in.bias.empty()) +
         linear_flops(in.x, in.a, false) + linear_flops(low, in.b, false) +
         static_cast<double>(low.shape.elements() + output.shape.elements());
}

const Op lora_linear_op{.name = "lora_linear",
                        .infer = infer,
                        .decompose = decompose,
                        .vjp = vjp,
                        .describe = describe,
                        .flops = flops};

/// Inputs are x, a, b.
Spec infer_low_rank(InputSpecs inputs, const Attrs&) {
  const Spec& x = inputs[0];
  const Spec& b = inputs[2];
  require_floating(x.dtype);
  if (x.shape.rank() < 1) throw ShapeError("x must be [..., in], a rank-0 tensor has no features");
  if (b.shape.rank() != 2)
    throw ShapeError(fmt::format("the adapter's b must be [out, rank], not {}", b.shape.str()));
  require_factors(inputs[1], b, x.shape.dim(-1), b.shape[0]);
  return {x.shape.with(-1, b.shape[0]), x.dtype};
}

Tensor decompose_low_rank(Inputs inputs, const Attrs& attrs) {
  return linear(linear(inputs[0], inputs[1]) * attrs.as<LoraAttrs>().scale, inputs[2]);
}

double low_rank_flops(InputSpecs inputs, const Spec&, const Attrs&) {
  const Spec low{inputs[0].shape.with(-1, inputs[1].shape[0]), inputs[0].dtype};
  return linear_flops(inputs[0], inputs[1], false) + linear_flops(low, inputs[2], false) +
         static_cast<double>(low.shape.elements());
}

const Op low_rank_op{.name = "low_rank",
                     .infer = infer_low_rank,
                     .decompose = decompose_low_rank,
                     .describe = describe,
                     .flops = low_rank_flops};

}  // namespace

Tensor lora_linear(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& a,
                   const Tensor& b, double scale, SourceLocation where) {
  return record_lora_linear(x, weight, bias, a, b, scale, false, where);
}

Tensor record_lora_linear(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& a,
                          const Tensor& b, double scale, bool transposed, SourceLocation where) {
  const LoraAttrs attrs{scale, bias.defined(), transposed};
  if (!bias.defined()) return record(lora_linear_op, {x, weight, a, b}, attrs, where);
  return record(lora_linear_op, {x, weight, bias, a, b}, attrs, where);
}

Tensor low_rank(const Tensor& x, const Tensor& a, const Tensor& b, double scale, SourceLocation where) {
  return record(low_rank_op, {x, a, b}, LoraAttrs{scale, 0, 0}, where);
}

}  // namespace wick
