#pragma once

#include "graph/op.h"

namespace wick {

/// rms_norm or layer_norm of x + y, and behind it, as the second result, x + y itself, rounded to the dtype
/// of both before it is normalized. Inputs are x, y of one shape and dtype, then the norm's parameters. The
/// optimiser makes them where a backend has a kernel.
const Op& add_rms_norm_op();
const Op& add_layer_norm_op();

}  // namespace wick
