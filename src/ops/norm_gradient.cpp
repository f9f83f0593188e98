#include "ops/norm_gradient.h"

#include <fmt/format.h>

#include "ops/widen.h"
#include "wick/ops/elementwise.h"

namespace wick {

Tensor inner_norm_gradient(Inputs inputs, const Attrs& attrs) {
  const auto count = attrs.as<NormGradientAttrs>();
  Tensor sum = widen(inputs[1]);
  for (std::int64_t i = 2; i <= count.gradients; ++i) sum = sum + widen(inputs[static_cast<std::size_t>(i)]);
  return inputs.size() > count.terms() ? sum * cast_to(inputs[count.terms()], sum.dtype()) : sum;
}

Tensor finished_norm_gradient(const Tensor& gradient, Inputs inputs, const Attrs& attrs) {
  const auto count = attrs.as<NormGradientAttrs>();
  const Tensor whole = count.adds != 0 ? gradient + widen(inputs[count.terms() - 1]) : gradient;
  return cast_to(whole, inputs[0].dtype());
}

std::string describe_norm_gradient(const Attrs& attrs) {
  const auto count = attrs.as<NormGradientAttrs>();
  std::string text = fmt::format("eps={}", count.eps);
  if (count.gradients > 1) text += fmt::format(", of {} gradients", count.gradients);
  if (count.adds != 0) text += ", added to another";
  return text;
}

}  // namespace wick
