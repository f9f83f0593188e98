#pragma once

#include <functional>
#include <vector>

#include "optimize/graph.h"

namespace wick {

/// Positions of nodes that become one step, whose results are theirs in this order.
using JoinedNodes = std::vector<std::uint32_t>;

/// The graph with a step for each set; `step_of` makes one, with inputs that are positions in `graph`. In the
/// old order as far as steps do not wait for members; `graph` itself where steps would wait for each other.
Graph join_nodes(const Graph& graph, const std::vector<JoinedNodes>& sets,
                 const std::function<GraphNode(const JoinedNodes&)>& step_of);

}  // namespace wick
