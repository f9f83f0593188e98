#pragma once

#include <span>
#include <vector>

#include "optimize/graph.h"

namespace wick {

/// Steps in the place of nodes of a graph, and of others on the way to them, which they absorb.
class FusedSteps {
 public:
  explicit FusedSteps(const Graph& graph);

  /// A step that has the value of `node`. Its inputs are positions in the graph, before `node`; nobody else
  /// reads what it absorbs.
  void put(std::uint32_t node, GraphNode step, std::span<const std::uint32_t> absorbed);
  /// The step in the place of a node, or null.
  const GraphNode* at(std::uint32_t node) const;
  bool is_absorbed(std::uint32_t node) const { return absorbed_[node] != 0; }

  /// The graph with the steps.
  Graph rewritten() const;

 private:
  const Graph& graph_;
  std::vector<std::uint32_t> step_of_;
  std::vector<char> absorbed_;
  std::vector<GraphNode> steps_;
};

}  // namespace wick
