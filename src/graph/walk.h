#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "graph/node.h"

namespace wick {

/// The nodes that some roots depend on, inputs before users. Holds one reference to each of them.
struct Walk {
  std::vector<const Node*> order;
  /// Inputs of order[i], as positions in `order`: edges[first_edge[i] .. first_edge[i + 1]).
  std::vector<std::uint32_t> first_edge;
  std::vector<std::uint32_t> edges;
  /// Whether order[i] was not entered: data, or (when walking what is unevaluated) a node with a value.
  std::vector<char> leaf;
  /// Positions of the roots.
  std::vector<std::uint32_t> roots;
  std::vector<Tensor> held;  ///< in no order

  bool is_leaf(std::size_t i) const { return leaf[i] != 0; }
  std::span<const std::uint32_t> inputs(std::size_t i) const {
    return std::span(edges).subspan(first_edge[i], first_edge[i + 1] - first_edge[i]);
  }
};

/// Whether a walk enters a node's inputs.
enum class WalkThrough {
  unevaluated,  ///< nodes with a value are leaves: what an evaluation has to do
  everything,   ///< the whole recorded history: what a gradient may need
};

/// Iterative depth-first search. `stops` are not entered.
Walk walk(std::span<const Tensor> roots, WalkThrough through, std::span<const Tensor> stops = {});

}  // namespace wick
