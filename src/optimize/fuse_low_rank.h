#pragma once

#include "optimize/pass.h"

namespace wick {

/// s (x A^T) B^T in plain ops, with the scale at either place, becomes low_rank: one step that writes no
/// unscaled result and reads the factors in the dtype that they are kept in.
Graph fuse_low_rank(const Graph& graph, const PassContext& context);

}  // namespace wick
