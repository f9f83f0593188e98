#pragma once

#include <vector>

#include "optimize/graph.h"

namespace wick {

/// Positions of nodes that become one step, whose results are theirs in this order.
using JoinedNodes = std::vector<std::uint32_t>;

/// The step has inputs that are positions in the graph of the nodes.
struct JoinedStep {
  JoinedNodes nodes;
  GraphNode step;
};

/// The graph with the steps in the place of their nodes. In the old order as far as steps do not wait for
/// what they read; `graph` itself where steps would wait for each other.
Graph join_nodes(const Graph& graph, const std::vector<JoinedStep>& steps);

}  // namespace wick
