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

std::vector<Tensor> vjp_softmax(const VjpArgs& args) {
  const Tensor y = widen(args.output);
  const Tensor grad = widen(args.grad);
  const Tensor inner = sum(y * grad, {axis_of(args.attrs)}, true);
  return {cast_to(y * (grad - inner), args.output.dtype())};
}

std::vector<Tensor> vjp_log_softmax(const VjpArgs& args) {
  const Tensor grad = widen(args.grad);
  const Tensor total = sum(grad, {axis_of(args.attrs)}, true);
  return {cast_to(grad - exp(widen(args.output)) * total, args.output.dtype())};
}

std::string describe(const Attrs& attrs) { return fmt::format("axis={}", axis_of(attrs)); }

const Op softmax_op{.name = "softmax",
                    .infer = infer,
                    .decompose = decompose_softmax,
                    .vjp = vjp_softmax,
                    .describe = describe};
const Op log_softmax_op{.name = "log_softmax",
                        .infer = infer,
                        .decompose = decompose_log_softmax,
                        .vjp = vjp_log_softmax,
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
