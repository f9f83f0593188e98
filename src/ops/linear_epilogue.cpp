#include "ops/linear_epilogue.h"

#include <fmt/format.h>

#include "ops/attributes.h"
#include "ops/helpers.h"
#include "wick/ops/elementwise.h"
#include "wick/ops/linalg.h"
#include "wick/ops/movement.h"
#include "wick/ops/nn.h"

namespace wick {
namespace {

Spec infer(InputSpecs inputs, const Attrs& attrs) {
  const bool transposed = attrs.as<LinearEpilogueAttrs>().transposed != 0;
  return {inputs[0].shape.with(-1, inputs[1].shape[transposed ? 1 : 0]), inputs[0].dtype};
}

Tensor activated(const Tensor& x, Activation activation) {
  switch (activation) {
    case Activation::none: return x;
    case Activation::relu: return relu(x);
    case Activation::gelu: return gelu(x);
    case Activation::gelu_tanh: return gelu_tanh(x);
    case Activation::silu: break;
  }
  return silu(x);
}

Tensor decompose(Inputs inputs, const Attrs& attrs) {
  const auto epilogue = attrs.as<LinearEpilogueAttrs>();
  const DType dtype = inputs[0].dtype();
  Tensor y = epilogue.transposed != 0 ? matmul(inputs[0], inputs[1]) : linear(inputs[0], inputs[1]);
  if (epilogue.has_bias != 0) y = y + cast_to(reshape(inputs[2], Shape{inputs[2].elements()}), dtype);
  y = activated(y, epilogue.activation);
  const Tensor& other = inputs.back();
  switch (epilogue.combination) {
    case Combination::none: return y;
    case Combination::add: return y + other;
    case Combination::mul: break;
  }
  return y * other;
}

std::string describe(const Attrs& attrs) {
  const auto epilogue = attrs.as<LinearEpilogueAttrs>();
  std::string text = epilogue.has_bias != 0 ? "bias" : "";
  const auto add = [&](std::string_view part) { text.append(text.empty() ? "" : ", ").append(part); };
  if (epilogue.activation != Activation::none) add(name_of(epilogue.activation));
  if (epilogue.combination != Combination::none)
    add(epilogue.combination == Combination::add ? "add" : "mul");
  return text;
}

}  // namespace

const Op& linear_epilogue_op() {
  static constexpr Op op{
      .name = "linear_epilogue", .infer = infer, .decompose = decompose, .describe = describe};
  return op;
}

}  // namespace wick
