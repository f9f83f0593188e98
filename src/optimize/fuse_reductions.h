#pragma once

#include "optimize/pass.h"

namespace wick {

/// Elementwise ops whose result only a sum, max or min reads are computed by the reduction as it goes, where
/// the backend has a kernel for it.
Graph fuse_reductions(const Graph& graph, const PassContext& context);

}  // namespace wick
