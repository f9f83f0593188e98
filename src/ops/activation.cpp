#include <fmt/format.h>

#include <cmath>
#include <numbers>

#include "graph/record.h"
#include "ops/attributes.h"
#include "ops/helpers.h"
#include "ops/widen.h"
#include "wick/error.h"

// relu, silu, gelu, gelu_tanh and clamp: composites in terms of other elementwise ops. Narrow dtypes compute
// in f32.
namespace wick {
namespace {

/// sqrt(2 / pi) and the cubic coefficient of gelu's tanh approximation.
constexpr double tanh_scale = std::numbers::sqrt2 * std::numbers::inv_sqrtpi;
constexpr double tanh_cubic = 0.044715;

Spec infer_same(InputSpecs inputs, const Attrs&) {
  if (inputs[0].dtype == DType::bool_) throw DTypeError("it takes numeric dtypes, not bool; cast first");
  return inputs[0];
}

Spec infer_floating(InputSpecs inputs, const Attrs&) {
  require_floating(inputs[0].dtype);
  return inputs[0];
}

/// A decomposition or gradient that computes in a wide dtype and rounds once.
template <Tensor (*formula)(const Tensor& x)>
Tensor decompose_wide(Inputs inputs, const Attrs&) {
  return cast_to(formula(widen(inputs[0])), inputs[0].dtype());
}

/// The gradient of an activation, as an op of its own: it is computed from x alone, whatever the forward
/// computed on its way. Inputs are x and the gradient of the result.
template <Tensor (*derivative)(const Tensor& x)>
Tensor decompose_gradient(Inputs inputs, const Attrs&) {
  const Tensor& x = inputs[0];
  return cast_to(widen(inputs[1]) * derivative(widen(x)), x.dtype());
}

template <Tensor (*derivative)(const Tensor& x)>
constexpr Op gradient_op_of(std::string_view name) {
  return {.name = name,
          .infer = infer_floating,
          .decompose = decompose_gradient<derivative>,
          .elementwise = true};
}

template <const Op& gradient>
std::vector<Tensor> vjp_by(const VjpArgs& args) {
  return {record(gradient, {args.inputs[0], args.grad}, {}, {})};
}

constexpr Op relu_op{
    .name = "relu",
    .infer = infer_same,
    .decompose = [](Inputs inputs, const Attrs&) { return maximum(inputs[0], 0); },
    .vjp = [](const VjpArgs& args) -> std::vector<Tensor> {
      return {where(greater(args.inputs[0], 0), args.grad, 0)};
    },
    .elementwise = true,
};

Tensor silu_formula(const Tensor& x) { return x * sigmoid(x); }
Tensor silu_derivative(const Tensor& x) {
  const Tensor s = sigmoid(x);
  return s * (x * (1 - s) + 1);
}

constexpr Op silu_gradient_op = gradient_op_of<silu_derivative>("silu_gradient");

constexpr Op silu_op{
    .name = "silu",
    .infer = infer_floating,
    .decompose = decompose_wide<silu_formula>,
    .vjp = vjp_by<silu_gradient_op>,
    .elementwise = true,
};

/// The standard normal distribution function.
Tensor normal_cdf(const Tensor& x) { return (erf(x * (1 / std::numbers::sqrt2)) + 1) * 0.5; }

Tensor gelu_formula(const Tensor& x) { return x * normal_cdf(x); }
Tensor gelu_derivative(const Tensor& x) {
  constexpr double density_at_0 = std::numbers::inv_sqrtpi / std::numbers::sqrt2;
  return normal_cdf(x) + x * (exp(square(x) * -0.5) * density_at_0);
}

constexpr Op gelu_gradient_op = gradient_op_of<gelu_derivative>("gelu_gradient");

constexpr Op gelu_op{
    .name = "gelu",
    .infer = infer_floating,
    .decompose = decompose_wide<gelu_formula>,
    .vjp = vjp_by<gelu_gradient_op>,
    .elementwise = true,
};

Tensor gelu_tanh_inner(const Tensor& x) { return tanh(x * (square(x) * tanh_cubic + 1) * tanh_scale); }
Tensor gelu_tanh_formula(const Tensor& x) { return x * (gelu_tanh_inner(x) + 1) * 0.5; }
Tensor gelu_tanh_derivative(const Tensor& x) {
  const Tensor t = gelu_tanh_inner(x);
  const Tensor slope = (square(x) * (3 * tanh_cubic) + 1) * tanh_scale;
  return (t + 1 + x * (1 - square(t)) * slope) * 0.5;
}

constexpr Op gelu_tanh_gradient_op = gradient_op_of<gelu_tanh_derivative>("gelu_tanh_gradient");

constexpr Op gelu_tanh_op{
    .name = "gelu_tanh",
    .infer = infer_floating,
    .decompose = decompose_wide<gelu_tanh_formula>,
    .vjp = vjp_by<gelu_tanh_gradient_op>,
    .elementwise = true,
};

constexpr Op clamp_op{
    .name = "clamp",
    .infer = [](InputSpecs inputs, const Attrs& attrs) -> Spec {
      const auto limits = attrs.as<ClampAttrs>();
      if (!(limits.low <= limits.high))
        throw ArgumentError(
            fmt::format("the low limit {} must not be above the high limit {}", limits.low, limits.high));
      for (double limit : {limits.low, limits.high})
        if (!std::isinf(limit)) require_representable(limit, inputs[0].dtype);
      return infer_same(inputs, attrs);
    },
    .decompose = [](Inputs inputs, const Attrs& attrs) -> Tensor {
      const auto limits = attrs.as<ClampAttrs>();
      Tensor x = inputs[0];
      if (!std::isinf(limits.low)) x = maximum(x, constant(limits.low, x.dtype()));
      if (!std::isinf(limits.high)) x = minimum(x, constant(limits.high, x.dtype()));
      return x;
    },
    .vjp = [](const VjpArgs& args) -> std::vector<Tensor> {
      const auto limits = args.attrs.as<ClampAttrs>();
      const Tensor& x = args.inputs[0];
      const Tensor inside = logical_and(greater_equal(x, limits.low), less_equal(x, limits.high));
      return {where(inside, args.grad, 0)};
    },
    .describe = [](const Attrs& attrs) -> std::string {
      const auto limits = attrs.as<ClampAttrs>();
      return fmt::format("{} to {}", limits.low, limits.high);
    },
    .elementwise = true,
};

}  // namespace

Tensor relu(const Operand& x) { return record(relu_op, {to_tensor(x)}, {}, x.where()); }
Tensor silu(const Operand& x) { return record(silu_op, {floating_tensor(x)}, {}, x.where()); }
Tensor gelu(const Operand& x) { return record(gelu_op, {floating_tensor(x)}, {}, x.where()); }
Tensor gelu_tanh(const Operand& x) { return record(gelu_tanh_op, {floating_tensor(x)}, {}, x.where()); }

Tensor clamp(const Operand& x, double low, double high) {
  Tensor input = to_tensor(x);
  const bool fractional = std::trunc(low) != low || std::trunc(high) != high;
  if (fractional) input = floating_tensor({input, x.where()});
  return record(clamp_op, {input}, Attrs(ClampAttrs{low, high}), x.where());
}

}  // namespace wick
