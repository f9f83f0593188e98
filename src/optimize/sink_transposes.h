#pragma once

#include "optimize/pass.h"

namespace wick {

/// Elementwise ops between a permutation and a matrix product run before the permutation: on memory in its
/// own order, and the product takes the permutation as strides.
Graph sink_transposes(const Graph& graph, const PassContext& context);

}  // namespace wick
