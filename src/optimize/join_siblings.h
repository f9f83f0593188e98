#pragma once

#include "optimize/pass.h"

namespace wick {

/// Joins linear layers on several rows of one input (q, k and v; gate and up) into one step, where the
/// backend computes several at once without a copy of their weights.
Graph join_siblings(const Graph& graph, const PassContext& context);

}  // namespace wick
