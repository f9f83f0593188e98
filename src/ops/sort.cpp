#include <fmt/format.h>

#include <numeric>

#include "graph/record.h"
#include "ops/attributes.h"
#include "ops/axis.h"
#include "wick/error.h"
#include "wick/ops/indexing.h"
#include "wick/ops/movement.h"

namespace wick {
namespace {

const Op argsort_op{
    .name = "argsort",
    .infer = [](InputSpecs inputs, const Attrs& attrs) -> Spec {
      checked_axis(inputs[0].shape, attrs.as<SortAttrs>().axis);
      return {inputs[0].shape, DType::i64};
    },
    .describe = [](const Attrs& attrs) -> std::string {
      const auto a = attrs.as<SortAttrs>();
      return fmt::format("axis {}, {}", a.axis, a.descending ? "descending" : "ascending");
    },
    .differentiable = false,
};

}  // namespace

Tensor argsort(const Tensor& x, int axis, bool descending, SourceLocation where) {
  return record(argsort_op, {x}, SortAttrs{front_axis(x, axis), descending}, where);
}

Tensor sort(const Tensor& x, int axis, bool descending, SourceLocation where) {
  return take_along_axis(x, argsort(x, axis, descending, where), axis, where);
}

std::pair<Tensor, Tensor> topk(const Tensor& x, std::int64_t k, int axis, SourceLocation where) {
  const Tensor order = argsort(x, axis, true, where);
  if (k < 0 || k > x.dim(axis))
    refuse<ArgumentError>("topk", x,
                          fmt::format("k is {}, but axis {} has {} elements", k, axis, x.dim(axis)), where);
  const Tensor indices = slice(order, axis, 0, k, 1, where);
  return {take_along_axis(x, indices, axis, where), indices};
}

}  // namespace wick
