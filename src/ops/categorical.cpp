#include "ops/categorical.h"

#include <fmt/format.h>

#include <cmath>

#include "graph/record.h"
#include "ops/attributes.h"
#include "ops/helpers.h"
#include "wick/error.h"
#include "wick/ops/elementwise.h"
#include "wick/ops/indexing.h"
#include "wick/ops/movement.h"
#include "wick/ops/reduce.h"

namespace wick {
namespace {

Spec infer(InputSpecs inputs, const Attrs& attrs) {
  const double temperature = attrs.as<CategoricalAttrs>().temperature;
  const Shape& scores = inputs[0].shape;
  if (scores.rank() != 2 || scores[1] == 0)
    throw ShapeError(
        fmt::format("the scores must be [rows, n] with something to choose from, not {}", scores.str()));
  require_floating(inputs[0].dtype);
  if (!(temperature >= 0) || std::isinf(temperature))
    throw ArgumentError(
        fmt::format("the temperature must be a finite number of at least 0, not {}", temperature));
  if ((temperature > 0) != (inputs.size() == 2))
    throw ArgumentError("a draw takes a share and a temperature above 0, the likeliest takes neither");
  if (inputs.size() == 2 && inputs[1] != Spec{Shape{}, DType::f64})
    throw ShapeError(fmt::format("the share must be one f64 number, not {} {}", name_of(inputs[1].dtype),
                                 inputs[1].shape.str()));
  return {Shape{scores[0], 3}, DType::f64};
}

Tensor decompose(Inputs in, const Attrs& attrs) {
  const Tensor scores = cast_to(in[0], DType::f64);
  if (in.size() == 1) {
    const Tensor place = argmax(in[0], 1, true);
    const Tensor highest = take_along_axis(scores, place, 1);
    const Tensor total = sum(exp(scores - highest), {1}, true);
    return concat({cast(place, DType::f64), exp(highest - highest) / total, highest}, 1);
  }
  const Tensor highest = cast_to(max(in[0], {1}, true), DType::f64);
  const Tensor weights = exp((scores - highest) / attrs.as<CategoricalAttrs>().temperature);
  const Tensor sums = cumsum(weights, 1);
  const Tensor total = slice(sums, 1, sums.dim(1) - 1, sums.dim(1));
  const Tensor reached = logical_and(greater(weights, 0), greater(sums, total * in[1]));
  const Tensor place = argmax(reached, 1, true);
  return concat({cast(place, DType::f64), take_along_axis(weights, place, 1) / total,
                 take_along_axis(scores, place, 1)},
                1);
}

const Op categorical_op{
    .name = "categorical",
    .infer = infer,
    .decompose = decompose,
    .describe = [](const Attrs& attrs) -> std::string {
      return fmt::format("temperature {}", attrs.as<CategoricalAttrs>().temperature);
    },
    .flops = [](InputSpecs inputs, const Spec&, const Attrs&) -> double {
      return 5 * static_cast<double>(inputs[0].shape.elements());  // relative to the highest, exp, two sums
    },
    .differentiable = false,
};

}  // namespace

Tensor categorical(const Tensor& scores, double temperature, const Tensor& share, SourceLocation where) {
  const CategoricalAttrs attrs{temperature};
  if (!share.defined()) return record(categorical_op, {scores}, attrs, where);
  return record(categorical_op, {scores, share}, attrs, where);
}

}  // namespace wick
