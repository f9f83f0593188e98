#pragma once

#include "optimize/pass.h"

namespace wick {

/// Whether the backend has a kernel for a node, whose inputs are positions in `graph`, on row-major data;
/// never for a composite where all of them are to be decomposed.
bool has_kernel(const Graph& graph, const GraphNode& node, const PassContext& context);

}  // namespace wick
