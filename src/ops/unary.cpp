#include <cmath>
#include <numbers>

#include "graph/record.h"
#include "ops/helpers.h"
#include "wick/error.h"

namespace wick {
namespace {

Spec infer_same(InputSpecs inputs, const Attrs&) { return inputs[0]; }

Spec infer_numeric(InputSpecs inputs, const Attrs&) {
  if (inputs[0].dtype == DType::bool_)
    throw DTypeError("it takes numeric dtypes, not bool; use logical_not or cast");
  return inputs[0];
}

Spec infer_floating(InputSpecs inputs, const Attrs&) {
  require_floating(inputs[0].dtype);
  return inputs[0];
}

Spec infer_predicate(InputSpecs inputs, const Attrs&) { return {inputs[0].shape, DType::bool_}; }

/// A vjp from the formula d(grad, x, y) of the input's gradient, with y the output.
template <Tensor (*formula)(const Tensor& grad, const Tensor& x, const Tensor& y)>
std::vector<Tensor> vjp(const VjpArgs& args) {
  return {formula(args.grad, args.inputs[0], args.output)};
}

using Infer = Spec (*)(InputSpecs, const Attrs&);
using Vjp = std::vector<Tensor> (*)(const VjpArgs&);

constexpr Op primitive(std::string_view name, Infer infer, Vjp gradient) {
  return {.name = name, .infer = infer, .vjp = gradient, .elementwise = true};
}

/// No gradient flows: booleans, and what is constant between jumps.
constexpr Op step_function(std::string_view name, Infer infer) {
  return {.name = name, .infer = infer, .elementwise = true, .differentiable = false};
}

Tensor neg_grad(const Tensor& grad, const Tensor&, const Tensor&) { return neg(grad); }
Tensor abs_grad(const Tensor& grad, const Tensor& x, const Tensor&) { return grad * sign(x); }
Tensor exp_grad(const Tensor& grad, const Tensor&, const Tensor& y) { return grad * y; }
Tensor log_grad(const Tensor& grad, const Tensor& x, const Tensor&) { return grad / x; }
Tensor sqrt_grad(const Tensor& grad, const Tensor&, const Tensor& y) { return grad * 0.5 / y; }
Tensor rsqrt_grad(const Tensor& grad, const Tensor&, const Tensor& y) {
  return grad * -0.5 * (y * square(y));
}
Tensor sin_grad(const Tensor& grad, const Tensor& x, const Tensor&) { return grad * cos(x); }
Tensor cos_grad(const Tensor& grad, const Tensor& x, const Tensor&) { return neg(grad * sin(x)); }
Tensor tanh_grad(const Tensor& grad, const Tensor&, const Tensor& y) { return grad * (1 - square(y)); }
Tensor sigmoid_grad(const Tensor& grad, const Tensor&, const Tensor& y) { return grad * (y * (1 - y)); }
Tensor erf_grad(const Tensor& grad, const Tensor& x, const Tensor&) {
  return grad * (exp(neg(square(x))) * (2 * std::numbers::inv_sqrtpi));
}
Tensor square_grad(const Tensor& grad, const Tensor& x, const Tensor&) { return grad * x * 2; }

constexpr Op neg_op = primitive("neg", infer_numeric, vjp<neg_grad>);
constexpr Op abs_op = primitive("abs", infer_same, vjp<abs_grad>);
constexpr Op sign_op = step_function("sign", infer_numeric);
constexpr Op exp_op = primitive("exp", infer_floating, vjp<exp_grad>);
constexpr Op log_op = primitive("log", infer_floating, vjp<log_grad>);
constexpr Op sqrt_op = primitive("sqrt", infer_floating, vjp<sqrt_grad>);
constexpr Op rsqrt_op = primitive("rsqrt", infer_floating, vjp<rsqrt_grad>);
constexpr Op sin_op = primitive("sin", infer_floating, vjp<sin_grad>);
constexpr Op cos_op = primitive("cos", infer_floating, vjp<cos_grad>);
constexpr Op tanh_op = primitive("tanh", infer_floating, vjp<tanh_grad>);
constexpr Op sigmoid_op = primitive("sigmoid", infer_floating, vjp<sigmoid_grad>);
constexpr Op erf_op = primitive("erf", infer_floating, vjp<erf_grad>);
constexpr Op square_op = primitive("square", infer_same, vjp<square_grad>);
constexpr Op logical_not_op = step_function("logical_not", infer_predicate);
constexpr Op is_finite_op = step_function("is_finite", infer_predicate);

}  // namespace

Tensor neg(const Operand& x) { return record(neg_op, {to_tensor(x)}, {}, x.where()); }
Tensor abs(const Operand& x) { return record(abs_op, {to_tensor(x)}, {}, x.where()); }
Tensor sign(const Operand& x) { return record(sign_op, {to_tensor(x)}, {}, x.where()); }
Tensor exp(const Operand& x) { return record(exp_op, {floating_tensor(x)}, {}, x.where()); }
Tensor log(const Operand& x) { return record(log_op, {floating_tensor(x)}, {}, x.where()); }
Tensor sqrt(const Operand& x) { return record(sqrt_op, {floating_tensor(x)}, {}, x.where()); }
Tensor rsqrt(const Operand& x) { return record(rsqrt_op, {floating_tensor(x)}, {}, x.where()); }
Tensor sin(const Operand& x) { return record(sin_op, {floating_tensor(x)}, {}, x.where()); }
Tensor cos(const Operand& x) { return record(cos_op, {floating_tensor(x)}, {}, x.where()); }
Tensor tanh(const Operand& x) { return record(tanh_op, {floating_tensor(x)}, {}, x.where()); }
Tensor sigmoid(const Operand& x) { return record(sigmoid_op, {floating_tensor(x)}, {}, x.where()); }
Tensor erf(const Operand& x) { return record(erf_op, {floating_tensor(x)}, {}, x.where()); }
Tensor square(const Operand& x) { return record(square_op, {to_tensor(x)}, {}, x.where()); }
Tensor logical_not(const Operand& x) { return record(logical_not_op, {to_tensor(x)}, {}, x.where()); }
Tensor is_finite(const Operand& x) { return record(is_finite_op, {to_tensor(x)}, {}, x.where()); }

}  // namespace wick
