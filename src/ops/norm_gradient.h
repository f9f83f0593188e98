#pragma once

#include <cstdint>
#include <string>

#include "graph/op.h"

namespace wick {

/// Of the ops rms_norm_gradient and layer_norm_gradient, the gradients with respect to x. Inputs are x, so
/// many gradients of the result, which are summed up in this order, another gradient of x, where one is
/// added, all of one shape and dtype, and the weight, if there is one. Sums are not rounded to the dtype on
/// the way. What is recorded has one gradient and adds nothing; the optimiser makes the sums part of it.
struct NormGradientAttrs {
  double eps;
  std::int64_t gradients;
  std::int64_t adds;  ///< 0 or 1

  std::size_t terms() const { return static_cast<std::size_t>(1 + gradients + adds); }
};

/// The most that kernels take.
inline constexpr std::int64_t most_norm_gradients = 3;

/// The gradient of what was normalized: the sum of those of the result, times the weight, in the dtype that
/// is computed in.
Tensor inner_norm_gradient(Inputs inputs, const Attrs& attrs);

/// A gradient in that dtype, with what is added, as the result.
Tensor finished_norm_gradient(const Tensor& gradient, Inputs inputs, const Attrs& attrs);

std::string describe_norm_gradient(const Attrs& attrs);

}  // namespace wick
