#pragma once

#include "optimize/pass.h"

namespace wick {

/// Joins elementwise ops to groups that are computed in one pass over memory.
Graph fuse_elementwise(const Graph& graph, const PassContext& context);

}  // namespace wick
