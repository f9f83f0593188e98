#pragma once

#include "optimize/pass.h"

namespace wick {

/// Joins projections onto adapters' factors, and likewise gradients of factors, of layers that read one input
/// (q, k and v; gate and up) into one step, where the backend computes several at once: each alone is too
/// short to fill a GPU, and on the CPU reads the input again.
Graph join_adapters(const Graph& graph, const PassContext& context);

}  // namespace wick
