#include <fmt/format.h>

#include "graph/record.h"
#include "ops/attributes.h"
#include "ops/helpers.h"
#include "ops/random_key.h"
#include "wick/error.h"
#include "wick/ops/random.h"

namespace wick {
namespace {

const Op dropout_op{
    .name = "dropout",
    .infer = [](InputSpecs inputs, const Attrs& attrs) -> Spec {
      require_floating(inputs[0].dtype);
      require_random_key(inputs[1]);
      const double p = attrs.as<DropoutAttrs>().probability;
      if (!(p >= 0 && p < 1))
        throw ArgumentError(fmt::format("the probability must be in [0, 1), but is {}", p));
      return inputs[0];
    },
    // The numbers are f32 for every dtype of x: narrower ones would blur the probability.
    .decompose = [](Inputs inputs, const Attrs& attrs) -> Tensor {
      const double p = attrs.as<DropoutAttrs>().probability;
      const Tensor& x = inputs[0];
      return where(greater_equal(random_uniform(inputs[1], x.shape()), p), x * (1 / (1 - p)), 0);
    },
    .describe = [](const Attrs& attrs) -> std::string {
      return fmt::format("p {}", attrs.as<DropoutAttrs>().probability);
    },
};

}  // namespace

Tensor dropout(const Tensor& x, double p, const Tensor& key, SourceLocation where) {
  return record(dropout_op, {x, key}, DropoutAttrs{p}, where);
}

}  // namespace wick
