#pragma once

#include <optional>

#include "optimize/pass.h"

namespace wick {

/// Joins elementwise ops to groups that are computed in one pass over memory.
Graph fuse_elementwise(const Graph& graph, const PassContext& context);

/// What a node computes as a program of a group: a group's own, or that of an elementwise op by itself.
/// Nothing for other nodes, and where the backend does not take the op into groups.
std::optional<ElementwiseGroup> program_of(const Graph& graph, std::uint32_t node,
                                           const PassContext& context);

}  // namespace wick
