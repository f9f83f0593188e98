#pragma once

#include "optimize/pass.h"

namespace wick {

/// Elementwise ops whose result only a sum, max or min reads are computed by the reduction as it goes, where
/// the backend has a kernel for it.
Graph fuse_reductions(const Graph& graph, const PassContext& context);

/// Whether that pass makes the reduction `node` compute its elements, given how often each node is read.
bool computes_its_elements(const Graph& graph, std::uint32_t node, const std::vector<std::uint32_t>& uses,
                           const PassContext& context);

}  // namespace wick
