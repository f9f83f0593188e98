#include <limits>

#include "graph/record.h"
#include "ops/helpers.h"
#include "ops/reduce_shapes.h"
#include "ops/widen.h"
#include "wick/ops/movement.h"
#include "wick/ops/reduce.h"

namespace wick {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

Tensor decompose(Inputs inputs, const Attrs& attrs) {
  const auto a = attrs.as<ReduceAttrs>();
  const std::vector<int> axes = axes_of(a);
  const bool keep = a.keep != 0;
  const Tensor x = widen(inputs[0]);
  if (reduced_count(x.shape(), a) == 0) return cast_to(log(sum(x, axes, keep)), inputs[0].dtype());
  // Around an infinite maximum the differences would be NaN; there exp(x) itself is right.
  const Tensor largest = max(x, axes, keep);
  const Tensor center = where(is_finite(largest), largest, 0);
  const Tensor total = sum(exp(x - spread_reduced(center, x.shape(), a)), axes, keep);
  return cast_to(log(total) + center, inputs[0].dtype());
}

/// grad softmax(x), with zeros where every element is -infinity.
std::vector<Tensor> vjp(const VjpArgs& args) {
  const auto a = args.attrs.as<ReduceAttrs>();
  const Shape& shape = args.inputs[0].shape();
  const Tensor result = widen(args.output);
  const Tensor center = where(equal(result, -infinity), 0, result);
  const Tensor softmax = exp(widen(args.inputs[0]) - spread_reduced(center, shape, a));
  return {cast_to(softmax * spread_reduced(widen(args.grad), shape, a), args.inputs[0].dtype())};
}

const Op logsumexp_op{
    .name = "logsumexp",
    .infer = [](InputSpecs inputs, const Attrs& attrs) -> Spec {
      require_floating(inputs[0].dtype);
      return {reduced_shape(inputs[0].shape, attrs.as<ReduceAttrs>()), inputs[0].dtype};
    },
    .decompose = decompose,
    .vjp = vjp,
    .describe = [](const Attrs& attrs) { return describe_reduction(attrs.as<ReduceAttrs>()); },
};

}  // namespace

Tensor logsumexp(const Tensor& x, const std::vector<int>& axes, bool keep, SourceLocation where) {
  return record(logsumexp_op, {x}, reduce_attrs("logsumexp", x, axes, keep, where), where);
}

}  // namespace wick
