#pragma once

#include "optimize/pass.h"

namespace wick {

/// A sum that is read by a norm and by others, and the norm, become one step of two results.
Graph fuse_residual_norms(const Graph& graph, const PassContext& context);

}  // namespace wick
