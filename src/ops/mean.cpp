#include "graph/record.h"
#include "ops/helpers.h"
#include "ops/reduce_shapes.h"
#include "ops/widen.h"
#include "wick/ops/reduce.h"

namespace wick {
namespace {

const Op mean_op{
    .name = "mean",
    .infer = [](InputSpecs inputs, const Attrs& attrs) -> Spec {
      require_floating(inputs[0].dtype);
      return {reduced_shape(inputs[0].shape, attrs.as<ReduceAttrs>()), inputs[0].dtype};
    },
    .decompose = [](Inputs inputs, const Attrs& attrs) -> Tensor {
      const auto a = attrs.as<ReduceAttrs>();
      const Tensor& x = inputs[0];
      const Tensor total = sum(widen(x), axes_of(a), a.keep != 0);
      return cast_to(total / static_cast<double>(reduced_count(x.shape(), a)), x.dtype());
    },
    .describe = [](const Attrs& attrs) { return describe_reduction(attrs.as<ReduceAttrs>()); },
};

}  // namespace

Tensor mean(const Tensor& x, const std::vector<int>& axes, bool keep, SourceLocation where) {
  return record(mean_op, {x}, reduce_attrs("mean", x, axes, keep, where), where);
}

}  // namespace wick
