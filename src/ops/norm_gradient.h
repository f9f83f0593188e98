#pragma once

#include "graph/op.h"

namespace wick {

/// The gradient of rms_norm or layer_norm with respect to x, plus another gradient of x, rounded once. Inputs
/// are x, the gradient of the result and the other one, all of one shape and dtype, and the weight, if there
/// is one. The optimiser makes them where a backend has a kernel.
const Op& rms_norm_gradient_add_op();
const Op& layer_norm_gradient_add_op();

}  // namespace wick
