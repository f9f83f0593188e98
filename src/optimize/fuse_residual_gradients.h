#pragma once

#include "optimize/pass.h"

namespace wick {

/// The gradient of a norm that only a sum reads, and the sum, become one step: a residual adds its gradient
/// to that of the norm beside it.
Graph fuse_residual_gradients(const Graph& graph, const PassContext& context);

}  // namespace wick
