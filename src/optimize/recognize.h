#pragma once

#include "optimize/pass.h"

namespace wick {

/// Finds what composite ops mean where it is written in plain ops, and puts the composite there, so that its
/// kernel computes it. Only where nobody else needs what the composite does not compute.
Graph recognize(const Graph& graph, const PassContext& context);

}  // namespace wick
