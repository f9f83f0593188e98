#pragma once

#include "wick/ops/movement.h"

namespace wick {

/// A view of `x` that runs backwards along `axis`.
inline Tensor reversed(const Tensor& x, int axis) { return slice(x, axis, -1, -x.dim(axis) - 1, -1); }

}  // namespace wick
