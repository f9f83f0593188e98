#include <fmt/format.h>

#include "graph/record.h"
#include "ops/attributes.h"
#include "ops/helpers.h"
#include "ops/widen.h"
#include "wick/error.h"
#include "wick/ops/nn.h"
#include "wick/ops/reduce.h"

namespace wick {
namespace {

int axis_of(const Attrs& attrs) { return static_cast<int>(attrs.as<AxisAttrs>().axis); }

Spec infer(InputSpecs inputs, const Attrs&) {
  require_floating(inputs[0].dtype);
  return inputs[0];
}

Tensor decompose_softmax(Inputs inputs, const Attrs& attrs) {
  const Tensor& x = inputs[0];
  if (x.elements() == 0) return x;  // also when the axis itself is empty, which has no maximum
  const int axis = axis_of(attrs);
  const Tensor wide = widen(x);
  const Tensor e = exp(wide - max(wide, {axis}, true));
  return cast_to(e / sum(e, {axis}, true), x.dtype());
}

Tensor decompose_log_softmax(Inputs inputs, const Attrs& attrs) {
  const Tensor& x = inputs[0];
  if (x.elements() == 0) return x;
  const int axis = axis_of(attrs);
  const Tensor wide = widen(x);
  const Tensor shifted = wide - max(wide, {axis}, true);
  return cast_to(shifted - log(sum(exp(shifted), {axis}, true)), x.dtype());
}

std::string describe(const Attrs& attrs) { return fmt::format("axis={}", axis_of(attrs)); }

/// y (g - sum(y g)), as an op of its own, so that a backend can make it in one pass. Inputs are the result
/// and its gradient.
Tensor decompose_softmax_gradient(Inputs inputs, const Attrs& attrs) {
  const Tensor y = widen(inputs[0]);
  const Tensor grad = widen(inputs[1]);
  return cast_to(y * (grad - sum(y * grad, {axis_of(attrs)}, true)), inputs[0].dtype());
}

/// g - exp(y) sum(g), likewise.
Tensor decompose_log_softmax_gradient(Inputs inputs, const Attrs& attrs) {
  const Tensor grad = widen(inputs[1]);
  const Tensor total = sum(grad, {axis_of(attrs)}, true);
  return cast_to(grad - exp(widen(inputs[0])) * total, inputs[0].dtype());
}

const Op softmax_gradient_op{.name = "softmax_gradient",
                             .infer = infer,
                             .decompose = decompose_softmax_gradient,
                             .describe = describe};
const Op log_softmax_gradient_op{.name = "log_softmax_gradient",
                                 .infer = infer,
                                 .decompose = decompose_log_softmax_gradient,
                                 .describe = describe};

template <const Op& gradient>
std::vector<Tensor> vjp(const VjpArgs& args) {
  return {record(gradient, {args.output, args.grad}, args.attrs, {})};
}

const Op softmax_op{.name = "softmax",
                    .infer = infer,
                    .decompose = decompose_softmax,
                    .vjp = vjp<softmax_gradient_op>,
                    .describe = describe};
const Op log_softmax_op{.name = "log_softmax",
                        .infer = infer,
                        .decompose = decompose_log_softmax,
                        .vjp = vjp<log_softmax_gradient_op>,
                        .describe = describe};

Tensor record_along(const Op& op, const Tensor& x, int axis, SourceLocation where) {
  return record(op, {x}, AxisAttrs{x.shape().normalize_axis(axis)}, where);
}

}  // namespace

Tensor softmax(const Tensor& x, int axis, SourceLocation where) {
  return record_along(softmax_op, x, axis, where);
}

Tensor log_softmax(const Tensor& x, int axis, SourceLocation where) {
  return record_along(log_softmax_op, x, axis, where);
}

}  // namespace wick
