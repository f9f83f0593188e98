#pragma once

#include "optimize/pass.h"

namespace wick {

/// Whether the backend has a kernel for a node whose inputs are nodes of `graph`, should they be row-major.
bool supported(const Graph& graph, const GraphNode& node, const PassContext& context);

}  // namespace wick
