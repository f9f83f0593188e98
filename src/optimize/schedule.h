#pragma once

#include "optimize/pass.h"

namespace wick {

/// Puts the nodes in an order that needs less memory at once, where it finds one. See schedule.cpp.
Graph schedule(const Graph& graph, const PassContext& context);

}  // namespace wick
