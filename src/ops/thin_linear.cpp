#include "ops/thin_linear.h"

#include <fmt/format.h>

#include "graph/record.h"
#include "ops/helpers.h"
#include "ops/linear_shapes.h"
#include "wick/error.h"
#include "wick/ops/linalg.h"
#include "wick/ops/movement.h"
#include "wick/ops/nn.h"

namespace wick {
namespace {

Spec infer(InputSpecs inputs, const Attrs& attrs) {
  const auto options = attrs.as<ThinLinearAttrs>();
  const ThinLinearInputs<Spec> in(inputs, options);
  std::int64_t outputs = 0;
  for (std::size_t i = 0; i < in.weights.size(); ++i) {
    const InputSpecs bias = in.biases.empty() ? InputSpecs{} : in.biases.subspan(i, 1);
    outputs += infer_linear(in.x, in.weights[i], bias).shape.dim(-1);
  }
  if (options.gated != 0) {
    if (in.weights.size() != 2 || !(in.weights[0].shape == in.weights[1].shape))
      throw ShapeError("a gated layer takes two weights of one shape, gate and up");
    outputs /= 2;
  }
  if (in.norm && !(in.norm->shape == Shape{in.x.shape.dim(-1)}))
    throw ShapeError(
        fmt::format("the norm's weight must be [{}], not {}", in.x.shape.dim(-1), in.norm->shape.str()));
  const Spec result{in.x.shape.with(-1, outputs), in.x.dtype};
  if (in.residual && (!(in.residual->shape == result.shape) || in.residual->dtype != result.dtype))
    throw ShapeError(fmt::format("the residual must be like the result, {}{}, not {}{}",
                                 name_of(result.dtype), result.shape.str(), name_of(in.residual->dtype),
                                 in.residual->shape.str()));
  return result;
}

Tensor decompose(Inputs inputs, const Attrs& attrs) {
  const auto options = attrs.as<ThinLinearAttrs>();
  const ThinLinearInputs<Tensor> in(inputs, options);
  const Tensor x = in.norm ? rms_norm(in.x, *in.norm, options.eps) : in.x;
  std::vector<Tensor> layers;
  for (std::size_t i = 0; i < in.weights.size(); ++i)
    layers.push_back(linear(x, in.weights[i], in.biases.empty() ? Tensor{} : in.biases[i]));
  Tensor result = options.gated != 0   ? swiglu(layers[0], layers[1])
                  : layers.size() == 1 ? layers[0]
                                       : concat(layers, -1);
  return in.residual ? result + *in.residual : result;
}

std::string describe(const Attrs& attrs) {
  const auto options = attrs.as<ThinLinearAttrs>();
  std::string text = fmt::format("{} {}", options.parts, options.parts == 1 ? "layer" : "layers");
  if (options.has_norm != 0) text += fmt::format(", of an RMS norm, eps={}", options.eps);
  if (options.gated != 0) text += ", gated";
  if (options.has_residual != 0) text += ", added to a residual";
  return text;
}

}  // namespace

const Op& thin_linear_op() {
  static constexpr Op op{.name = "thin_linear", .infer = infer, .decompose = decompose, .describe = describe};
  return op;
}

Tensor thin_linear(const ThinLinear& layers) {
  const ThinLinearAttrs attrs{layers.norm.defined() ? layers.eps : 0,
                              static_cast<std::int64_t>(layers.weights.size()),
                              !layers.biases.empty(),
                              layers.norm.defined(),
                              layers.gated,
                              layers.residual.defined()};
  std::vector<Tensor> inputs{layers.x};
  inputs.insert(inputs.end(), layers.weights.begin(), layers.weights.end());
  inputs.insert(inputs.end(), layers.biases.begin(), layers.biases.end());
  if (layers.norm.defined()) inputs.push_back(layers.norm);
  if (layers.residual.defined()) inputs.push_back(layers.residual);
  return record(thin_linear_op(), inputs, attrs, {});
}

}  // namespace wick
