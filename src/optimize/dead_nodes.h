#pragma once

#include "optimize/pass.h"

namespace wick {

/// Drops nodes that no output needs.
Graph eliminate_dead_nodes(const Graph& graph, const PassContext& context);

}  // namespace wick
