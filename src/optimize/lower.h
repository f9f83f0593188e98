#pragma once

#include "optimize/pass.h"

namespace wick {

/// Replaces composite ops that the backend has no kernel for by their decomposition.
Graph lower(const Graph& graph, const PassContext& context);

/// Whether the backend has a kernel for a node, whose inputs are positions in `graph`, on row-major data.
bool has_kernel(const Graph& graph, const GraphNode& node, const PassContext& context);

}  // namespace wick
