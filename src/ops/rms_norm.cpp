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
Tensor inverse_rms(const Tensor& wide, const Attrs& attrs) {
  return rsqrt(mean(square(wide), {-1}, true) + attrs.as<NormAttrs>().eps);
}

Tensor decompose(Inputs inputs, const Attrs& attrs) {
  const Tensor& x = inputs[0];
  const Tensor wide = widen(x);
  const Tensor normalized = cast_to(wide * inverse_rms(wide, attrs), x.dtype());
  return inputs.size() > 1 ? cast_to(normalized * inputs[1], x.dtype()) : normalized;
}

std::string describe(const Attrs& attrs) { return fmt::format("eps={}", attrs.as<NormAttrs>().eps); }

/// The gradient with respect to x, in the dtype that is computed in.
Tensor wide_gradient(const Tensor& x, const Tensor& result_gradient, const Tensor& weight,
                     const Attrs& attrs) {
  const Tensor wide = widen(x);
  const Tensor inverse = inverse_rms(wide, attrs);
  const Tensor normalized = wide * inverse;
  const Tensor grad = cast_to(result_gradient, wide.dtype());
  const Tensor inner = weight.defined() ? grad * cast_to(weight, wide.dtype()) : grad;
  return inverse * (inner - normalized * mean(inner * normalized, {-1}, true));
}

/// The gradient as an op of its own, so that a backend can make it in one pass. Inputs are x, the gradient of
/// the result, and the weight, if there is one.
Tensor decompose_gradient(Inputs inputs, const Attrs& attrs) {
  const Tensor weight = inputs.size() > 2 ? inputs[2] : Tensor{};
  return cast_to(wide_gradient(inputs[0], inputs[1], weight, attrs), inputs[0].dtype());
}

Tensor decompose_gradient_add(Inputs inputs, const Attrs& attrs) {
  const Tensor weight = inputs.size() > 3 ? inputs[3] : Tensor{};
  const Tensor gradient = wide_gradient(inputs[0], inputs[1], weight, attrs);
  return cast_to(gradient + cast_to(inputs[2], gradient.dtype()), inputs[0].dtype());
}

const Op gradient_op{.name = "rms_norm_gradient",
                     .infer = [](InputSpecs inputs, const Attrs&) -> Spec { return inputs[0]; },
                     .decompose = decompose_gradient,
                     .describe = describe};

std::vector<Tensor> vjp(const VjpArgs& args) {
  const Tensor& x = args.inputs[0];
  const bool has_weight = args.inputs.size() > 1;
  std::vector<Tensor> gradients(args.inputs.size());
  if (args.needed[0])
    gradients[0] = has_weight ? record(gradient_op, {x, args.grad, args.inputs[1]}, args.attrs, {})
                              : record(gradient_op, {x, args.grad}, args.attrs, {});
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

const Op& rms_norm_gradient_add_op() {
  static constexpr Op op{.name = "rms_norm_gradient_add",
                         .infer = [](InputSpecs inputs, const Attrs&) -> Spec { return inputs[0]; },
                         .decompose = decompose_gradient_add,
                         .describe = describe};
  return op;
}

Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps, SourceLocation where) {
  const NormAttrs attrs{eps};
  if (!weight.defined()) return record(rms_norm_op, {x}, attrs, where);
  return record(rms_norm_op, {x, weight}, attrs, where);
}

}  // namespace wick
