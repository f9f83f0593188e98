#pragma once

#include "optimize/pass.h"

namespace wick {

/// Replaces composite ops that the backend has no kernel for by their decomposition.
Graph lower(const Graph& graph, const PassContext& context);

}  // namespace wick
