#pragma once

#include "optimize/pattern.h"
#include "wick/ops/movement.h"

namespace wick {

/// Whether adding it adds one number to each column of the product.
inline bool is_bias(const GraphNode& bias, const GraphNode& product) {
  return bias.spec.shape.rank() >= 1 && bias.spec.shape.elements() == product.spec.shape.dim(-1) &&
         bias.spec.shape.dim(-1) == product.spec.shape.dim(-1) && is_floating(bias.spec.dtype);
}

inline Tensor as_bias(const Tensor& bias) { return reshape(bias, Shape{bias.elements()}); }

}  // namespace wick
