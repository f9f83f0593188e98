#include "ops/add_norm.h"

#include <fmt/format.h>

#include "ops/attributes.h"
#include "wick/ops/elementwise.h"
#include "wick/ops/nn.h"

namespace wick {
namespace {

Spec infer(InputSpecs inputs, const Attrs&) { return inputs[0]; }

Tensor parameter(Inputs inputs, std::size_t i) { return inputs.size() > 2 + i ? inputs[2 + i] : Tensor{}; }

/// The first result.
Tensor decompose_rms(Inputs inputs, const Attrs& attrs) {
  return rms_norm(inputs[0] + inputs[1], parameter(inputs, 0), attrs.as<NormAttrs>().eps);
}
Tensor decompose_layer(Inputs inputs, const Attrs& attrs) {
  return layer_norm(inputs[0] + inputs[1], parameter(inputs, 0), parameter(inputs, 1),
                    attrs.as<NormAttrs>().eps);
}

std::string describe(const Attrs& attrs) { return fmt::format("eps={}", attrs.as<NormAttrs>().eps); }

}  // namespace

const Op& add_rms_norm_op() {
  static constexpr Op op{
      .name = "add_rms_norm", .infer = infer, .decompose = decompose_rms, .describe = describe, .results = 2};
  return op;
}

const Op& add_layer_norm_op() {
  static constexpr Op op{.name = "add_layer_norm",
                         .infer = infer,
                         .decompose = decompose_layer,
                         .describe = describe,
                         .results = 2};
  return op;
}

}  // namespace wick
