#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/small_vector.h"
#include "core/storage.h"
#include "graph/elementwise_group.h"
#include "graph/op.h"
#include "graph/walk.h"

namespace wick {

/// Data that a graph starts from. The offset into its storage is bound when a plan runs, so it is 0 here.
/// Constants come behind the leaves that are bound, and bring their data.
struct GraphLeaf {
  DType dtype = DType::f32;
  Layout layout;
  bool donated = false;               ///< its storage may be overwritten
  bool is_weight = false;             ///< data that many evaluations read and none overwrites
  bool on_host = false;               ///< lies in the host's memory, while the graph runs on another device
  std::shared_ptr<Storage> constant;  ///< computed when the graph was optimised, for graphs of the CPU
};

/// One op of a snapshot. Inputs are positions of earlier nodes.
struct GraphNode {
  static constexpr std::uint32_t unrecorded = ~std::uint32_t{0};

  const Op* op = nullptr;  ///< null for a leaf
  Attrs attrs;
  Spec spec;
  SmallVector<std::uint32_t, 3> inputs;
  std::shared_ptr<const ElementwiseGroup> group;  ///< of an elementwise_group node
  std::uint32_t leaf = 0;                         ///< index into Graph::leaves, for leaves
  std::uint32_t recorded = unrecorded;            ///< position in the walk of a node with the same value
  SourceLocation where;
};

/// What an evaluation has to compute, taken from the recorded nodes: a vector in topological order that
/// passes rewrite.
struct Graph {
  Device device;
  std::vector<GraphNode> nodes;
  std::vector<GraphLeaf> leaves;
  std::vector<std::uint32_t> outputs;

  std::vector<Spec> input_specs(const GraphNode& node) const;
  /// The first is the node's own; of ops of several results, or that update inputs, those of all.
  std::vector<Spec> result_specs(const GraphNode& node) const;
  /// What the inputs of a node broadcast to.
  Shape shape_of_inputs(const GraphNode& node) const;
  /// Whether a node lies row by row without a copy, as kernels of `linear` want it.
  bool is_row_major(std::uint32_t node) const;
};

/// `donated`, per position in the walk: leaves whose storage dies with this evaluation. A leaf without a
/// value counts as one that lies row by row.
Graph snapshot(const Walk& walk, const std::vector<char>& donated);

/// A node for result number `result`, from 1, of the node at `position`; `like` has its dtype, shape and
/// line.
GraphNode pick(std::uint32_t position, std::size_t result, const GraphNode& like);

/// How often each node is read; an output once more.
std::vector<std::uint32_t> count_uses(const Graph& graph);

/// The rewriting idiom of the passes: a new graph is grown node by node while positions of the old one are
/// mapped.
class Rewriter {
 public:
  explicit Rewriter(const Graph& old);
  /// Appends a copy of old node `i`, with its inputs mapped.
  GraphNode mapped_copy(std::uint32_t i) const;
  std::uint32_t append(GraphNode node);
  /// Says that the new node has the value of the old one.
  void map(std::uint32_t old_position, std::uint32_t new_position) {
    new_position_[old_position] = new_position;
    std::uint32_t& recorded = result_.nodes[new_position].recorded;
    if (recorded == GraphNode::unrecorded) recorded = old_.nodes[old_position].recorded;
  }
  std::uint32_t operator[](std::uint32_t old_position) const { return new_position_[old_position]; }
  Graph& result() noexcept { return result_; }
  /// Maps the outputs and hands the new graph over.
  Graph finish();

 private:
  const Graph& old_;
  Graph result_;
  std::vector<std::uint32_t> new_position_;
};

}  // namespace wick
