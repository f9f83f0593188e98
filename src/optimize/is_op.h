#pragma once

#include <string_view>

#include "optimize/graph.h"

namespace wick {

/// Whether a node is an op of this name; a leaf is none.
inline bool is(const GraphNode& node, std::string_view op) { return node.op && node.op->name == op; }

}  // namespace wick
