#include <fmt/format.h>

#include "graph/record.h"
#include "ops/attributes.h"
#include "ops/norm_gradient.h"
#include "ops/norm_shapes.h"
#include "ops/widen.h"
#include "wick/error.h"
#include "wick/ops/nn.h"
#include "wick/ops/reduce.h"

namespace wick {
namespace {

Spec infer(InputSpecs inputs, const Attrs& attrs) { return infer_norm(inputs, attrs.as<NormAttrs>().eps); }

/// 1 / sqrt(mean(x^2) + eps), one a row.
Tensor inverse_rms(const Tensor& wide, double eps) { return rsqrt(mean(square(wide), {-1}, true) + eps); }

Tensor decompose(Inputs inputs, const Attrs& attrs) {
  const Tensor& x = inputs[0];
  const Tensor wide = widen(x);
  const Tensor normalized = cast_to(wide * inverse_rms(wide, attrs.as<NormAttrs>().eps), x.dtype());
  return inputs.size() > 1 ? cast_to(normalized * inputs[1], x.dtype()) : normalized;
}

std::string describe(const Attrs& attrs) { return fmt::format("eps={}", attrs.as<NormAttrs>().eps); }

/// The gradient as an op of its own, so that a backend can make it in one pass.
Tensor decompose_gradient(Inputs inputs, const Attrs& attrs) {
  const Tensor wide = widen(inputs[0]);
  const Tensor inverse = inverse_rms(wide, attrs.as<NormGradientAttrs>().eps);
  const Tensor normalized = wide * inverse;
  const Tensor inner = inner_norm_gradient(inputs, attrs);
  const Tensor gradient = inverse * (inner - normalized * mean(inner * normalized, {-1}, true));
  return finished_norm_gradient(gradient, inputs, attrs);
}

const Op gradient_op{.name = "rms_norm_gradient",
                     .infer = [](InputSpecs inputs, const Attrs&) -> Spec { return inputs[0]; },
                     .decompose = decompose_gradient,
                     .describe = describe_norm_gradient};

std::vector<Tensor> vjp(const VjpArgs& args) {
  const Tensor& x = args.inputs[0];
  const bool has_weight = args.inputs.size() > 1;
  std::vector<Tensor> gradients(args.inputs.size());
  const NormGradientAttrs attrs{args.attrs.as<NormAttrs>().eps, 1, 0};
  if (args.needed[0])
    gradients[0] = has_weight ? record(gradient_op, {x, args.grad, args.inputs[1]}, attrs, {})
                              : record(gradient_op, {x, args.grad}, attrs, {});
  if (has_weight && args.needed[1]) {
    const Tensor normalized = rms_norm(widen(x), {}, args.attrs.as<NormAttrs>().eps);
    const DType wide = normalized.dtype();
    gradients[1] = cast_to(sum_to(cast_to(args.grad, wide) * normalized, args.inputs[1].shape()),
                           args.inputs[1].dtype());
  }
  return gradients;
}

const Op rms_norm_op{
    .name = "rms_norm", .infer = infer, .decompose = decompose, .vjp = vjp, .describe = describe};

}  // namespace

Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps, SourceLocation where) {
  const NormAttrs attrs{eps};
  if (!weight.defined()) return record(rms_norm_op, {x}, attrs, where);
  return record(rms_norm_op, {x, weight}, attrs, where);
}

}  // namespace wick
