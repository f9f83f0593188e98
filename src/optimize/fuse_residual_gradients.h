#pragma once

#include "optimize/pass.h"

namespace wick {

/// The gradient of a norm and the sums on both sides of it become one step: that of the gradients of its
/// result, which several products may have read, and that with the gradient of the residual beside it.
Graph fuse_residual_gradients(const Graph& graph, const PassContext& context);

}  // namespace wick
