#include <fmt/format.h>

#include "graph/record.h"
#include "ops/attributes.h"
#include "ops/norm_gradient.h"
#include "ops/norm_shapes.h"
#include "ops/widen.h"
#include "wick/error.h"
#include "wick/ops/movement.h"
#include "wick/ops/nn.h"
#include "wick/ops/reduce.h"

namespace wick {
namespace {

Spec infer(InputSpecs inputs, const Attrs& attrs) { return infer_norm(inputs, attrs.as<NormAttrs>().eps); }

/// (x - mean) and 1 / sqrt(var + eps), the parts that forward and backward share.
struct Standardized {
  Standardized(const Tensor& x, double eps) {
    const Tensor wide = widen(x);
    centered = wide - mean(wide, {-1}, true);
    inverse = rsqrt(mean(square(centered), {-1}, true) + eps);
  }
  Tensor centered;
  Tensor inverse;
};

Tensor decompose(Inputs inputs, const Attrs& attrs) {
  const Standardized parts(inputs[0], attrs.as<NormAttrs>().eps);
  const DType wide = parts.centered.dtype();
  Tensor y = parts.centered * parts.inverse;
  if (inputs.size() > 1) y = y * cast_to(inputs[1], wide);
  if (inputs.size() > 2) y = y + cast_to(inputs[2], wide);
  return cast_to(y, inputs[0].dtype());
}

std::string describe(const Attrs& attrs) { return fmt::format("eps={}", attrs.as<NormAttrs>().eps); }

/// The gradient as an op of its own, so that a backend can make it in one pass.
Tensor decompose_gradient(Inputs inputs, const Attrs& attrs) {
  const Standardized parts(inputs[0], attrs.as<NormGradientAttrs>().eps);
  const Tensor normalized = parts.centered * parts.inverse;
  const Tensor inner = inner_norm_gradient(inputs, attrs);
  const Tensor along = mean(inner * normalized, {-1}, true);
  const Tensor gradient = parts.inverse * (inner - mean(inner, {-1}, true) - normalized * along);
  return finished_norm_gradient(gradient, inputs, attrs);
}

const Op gradient_op{.name = "layer_norm_gradient",
                     .infer = [](InputSpecs inputs, const Attrs&) -> Spec { return inputs[0]; },
                     .decompose = decompose_gradient,
                     .describe = describe_norm_gradient};

std::vector<Tensor> vjp(const VjpArgs& args) {
  const Tensor& x = args.inputs[0];
  const std::size_t count = args.inputs.size();
  const DType wide = wide_dtype(x.dtype());
  std::vector<Tensor> gradients(count);
  const NormGradientAttrs attrs{args.attrs.as<NormAttrs>().eps, 1, 0};
  if (args.needed[0])
    gradients[0] = count > 1 ? record(gradient_op, {x, args.grad, args.inputs[1]}, attrs, {})
                             : record(gradient_op, {x, args.grad}, attrs, {});
  if (count > 1 && args.needed[1]) {
    const Tensor normalized = layer_norm(widen(x), {}, {}, args.attrs.as<NormAttrs>().eps);
    gradients[1] = cast_to(sum_to(cast_to(args.grad, wide) * normalized, args.inputs[1].shape()),
                           args.inputs[1].dtype());
  }
  if (count > 2 && args.needed[2])
    gradients[2] = cast_to(sum_to(cast_to(args.grad, wide), args.inputs[2].shape()), args.inputs[2].dtype());
  return gradients;
}

const Op layer_norm_op{
    .name = "layer_norm", .infer = infer, .decompose = decompose, .vjp = vjp, .describe = describe};

}  // namespace

Spec infer_norm(InputSpecs inputs, double eps) {
  const Spec& x = inputs[0];
  require_floating(x.dtype);
  if (x.shape.rank() < 1)
    throw ShapeError("x must be [..., d], a rank-0 tensor has no dimension to normalize");
  if (!(eps >= 0)) throw ArgumentError(fmt::format("eps must not be negative, it is {}", eps));
  for (const Spec& parameter : inputs.subspan(1)) {
    require_floating(parameter.dtype);
    if (!(parameter.shape == Shape{x.shape.dim(-1)}))
      throw ShapeError(fmt::format("weight and bias must be [{}], the last dimension of x, not {}",
                                   x.shape.dim(-1), parameter.shape.str()));
  }
  return x;
}

Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps,
                  SourceLocation where) {
  const NormAttrs attrs{eps};
  if (!weight.defined() && bias.defined())
    return layer_norm(x, ones(bias.shape(), bias.dtype(), where), bias, eps, where);
  if (!weight.defined()) return record(layer_norm_op, {x}, attrs, where);
  if (!bias.defined()) return record(layer_norm_op, {x, weight}, attrs, where);
  return record(layer_norm_op, {x, weight, bias}, attrs, where);
}

}  // namespace wick
