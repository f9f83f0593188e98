#include <fmt/format.h>

#include "graph/record.h"
#include "ops/helpers.h"
#include "wick/error.h"

namespace wick {
namespace {

using Gradients = std::vector<Tensor>;

Spec infer_arithmetic(InputSpecs inputs, const Attrs&) {
  require_same_dtype(inputs);
  return {broadcast_shapes(inputs[0].shape, inputs[1].shape), inputs[0].dtype};
}

Spec infer_numeric(InputSpecs inputs, const Attrs& attrs) {
  if (inputs[0].dtype == DType::bool_) throw DTypeError("it takes numeric dtypes, not bool; cast first");
  return infer_arithmetic(inputs, attrs);
}

Spec infer_floating(InputSpecs inputs, const Attrs& attrs) {
  require_floating(inputs[0].dtype);
  return infer_arithmetic(inputs, attrs);
}

Spec infer_predicate(InputSpecs inputs, const Attrs& attrs) {
  return {infer_arithmetic(inputs, attrs).shape, DType::bool_};
}

/// Evaluates only the gradients that are wanted, and sums them to the shapes of the inputs.
template <typename A, typename B>
Gradients gradients_of(const VjpArgs& args, const A& by_a, const B& by_b) {
  Gradients gradients(2);
  if (args.needed[0]) gradients[0] = sum_to(by_a(), args.inputs[0].shape());
  if (args.needed[1]) gradients[1] = sum_to(by_b(), args.inputs[1].shape());
  return gradients;
}

Gradients add_vjp(const VjpArgs& args) {
  return gradients_of(
      args, [&] { return args.grad; }, [&] { return args.grad; });
}

Gradients sub_vjp(const VjpArgs& args) {
  return gradients_of(
      args, [&] { return args.grad; }, [&] { return neg(args.grad); });
}

Gradients mul_vjp(const VjpArgs& args) {
  return gradients_of(
      args, [&] { return args.grad * args.inputs[1]; }, [&] { return args.grad * args.inputs[0]; });
}

Gradients div_vjp(const VjpArgs& args) {
  const Tensor& b = args.inputs[1];
  return gradients_of(
      args, [&] { return args.grad / b; }, [&] { return neg(args.grad * args.output / b); });
}

Gradients pow_vjp(const VjpArgs& args) {
  const Tensor& a = args.inputs[0];
  const Tensor& b = args.inputs[1];
  // The guards give the limits where the formulas say 0 times infinity.
  return gradients_of(
      args, [&] { return where(equal(b, 0), 0, args.grad * b * pow(a, b - 1)); },
      [&] {
        return where(logical_and(equal(a, 0), greater_equal(b, 0)), 0, args.grad * args.output * log(a));
      });
}

/// The gradient goes to the selected operand, half and half at a tie.
Gradients selection_vjp(const VjpArgs& args, Tensor (*wins)(const Operand&, const Operand&)) {
  const Tensor& a = args.inputs[0];
  const Tensor& b = args.inputs[1];
  const Tensor tied = where(equal(a, b), args.grad * 0.5, 0);
  return gradients_of(
      args, [&] { return where(wins(a, b), args.grad, tied); },
      [&] { return where(wins(b, a), args.grad, tied); });
}

Gradients minimum_vjp(const VjpArgs& args) { return selection_vjp(args, less); }
Gradients maximum_vjp(const VjpArgs& args) { return selection_vjp(args, greater); }

using Infer = Spec (*)(InputSpecs, const Attrs&);
using Vjp = Gradients (*)(const VjpArgs&);

constexpr Op arithmetic(std::string_view name, Infer infer, Vjp vjp) {
  return {.name = name, .infer = infer, .vjp = vjp, .elementwise = true};
}

constexpr Op predicate(std::string_view name) {
  return {.name = name, .infer = infer_predicate, .elementwise = true, .differentiable = false};
}

constexpr Op add_op = arithmetic("add", infer_arithmetic, add_vjp);
constexpr Op sub_op = arithmetic("sub", infer_numeric, sub_vjp);
constexpr Op mul_op = arithmetic("mul", infer_arithmetic, mul_vjp);
constexpr Op div_op = arithmetic("div", infer_floating, div_vjp);
constexpr Op pow_op = arithmetic("pow", infer_numeric, pow_vjp);
constexpr Op minimum_op = arithmetic("minimum", infer_arithmetic, minimum_vjp);
constexpr Op maximum_op = arithmetic("maximum", infer_arithmetic, maximum_vjp);
constexpr Op equal_op = predicate("equal");
constexpr Op not_equal_op = predicate("not_equal");
constexpr Op less_op = predicate("less");
constexpr Op less_equal_op = predicate("less_equal");
constexpr Op greater_op = predicate("greater");
constexpr Op greater_equal_op = predicate("greater_equal");
constexpr Op logical_and_op = predicate("logical_and");
constexpr Op logical_or_op = predicate("logical_or");

Tensor record_promoted(const Op& op, const Operand& a, const Operand& b) {
  const Tensor* x = a.tensor();
  const Tensor* y = b.tensor();
  if (x && y && x->defined() && y->defined() && x->dtype() == y->dtype())
    return record(op, {*x, *y}, {}, a.where());  // nothing to promote: the common cases, kept short
  if (x && !y && x->defined() && dtype_beside(x->dtype(), b) == x->dtype())
    if (const Tensor* number = shared_number(b.value(), x->dtype(), a.where()))
      return record(op, {*x, *number}, {}, a.where());
  const Promoted operands = promote_operands(a, b);
  return record(op, {operands.a, operands.b}, {}, a.where());
}

}  // namespace

Tensor add(const Operand& a, const Operand& b) { return record_promoted(add_op, a, b); }
Tensor sub(const Operand& a, const Operand& b) { return record_promoted(sub_op, a, b); }
Tensor mul(const Operand& a, const Operand& b) { return record_promoted(mul_op, a, b); }

Tensor div(const Operand& a, const Operand& b) {
  const Promoted operands = promote_operands(a, b);
  return record(div_op, {floating_tensor({operands.a, a.where()}), floating_tensor({operands.b, a.where()})},
                {}, a.where());
}

Tensor pow(const Operand& a, const Operand& b) {
  const Promoted operands = promote_operands(a, b);
  if (!b.tensor() && b.value() < 0 && operands.a.defined() && !is_floating(operands.a.dtype()))
    throw ArgumentError(
        fmt::format("pow: an integer tensor to the negative power {} has no integer result; cast {} to a "
                    "floating dtype first "
                    "(recorded at {}:{})",
                    b.value(), operands.a.str(), b.where().file, b.where().line));
  return record(pow_op, {operands.a, operands.b}, {}, a.where());
}

Tensor minimum(const Operand& a, const Operand& b) { return record_promoted(minimum_op, a, b); }
Tensor maximum(const Operand& a, const Operand& b) { return record_promoted(maximum_op, a, b); }
Tensor equal(const Operand& a, const Operand& b) { return record_promoted(equal_op, a, b); }
Tensor not_equal(const Operand& a, const Operand& b) { return record_promoted(not_equal_op, a, b); }
Tensor less(const Operand& a, const Operand& b) { return record_promoted(less_op, a, b); }
Tensor less_equal(const Operand& a, const Operand& b) { return record_promoted(less_equal_op, a, b); }
Tensor greater(const Operand& a, const Operand& b) { return record_promoted(greater_op, a, b); }
Tensor greater_equal(const Operand& a, const Operand& b) { return record_promoted(greater_equal_op, a, b); }
Tensor logical_and(const Operand& a, const Operand& b) { return record_promoted(logical_and_op, a, b); }
Tensor logical_or(const Operand& a, const Operand& b) { return record_promoted(logical_or_op, a, b); }

}  // namespace wick
