#include "optimize/sink_reshapes.h"

#include <algorithm>

namespace wick {
namespace {

constexpr std::uint32_t none = ~std::uint32_t{0};

bool is_reshape(const GraphNode& node) { return node.op && node.op->name == "reshape"; }

bool is_one_number(const GraphNode& node) { return node.spec.shape.rank() == 0; }

/// Whether an elementwise node is the same on its elements in another shape: no operand is broadcast, and
/// none would have to be copied to be reshaped.
bool fits_any_shape(const Graph& graph, std::uint32_t i) {
  const GraphNode& node = graph.nodes[i];
  return node.op && node.op->elementwise && !is_one_number(node) &&
         std::all_of(node.inputs.begin(), node.inputs.end(), [&](std::uint32_t input) {
           const GraphNode& operand = graph.nodes[input];
           return is_one_number(operand) ||
                  (operand.spec.shape == node.spec.shape && graph.is_row_major(input));
         });
}

/// Per node, the reshape that it is to run behind, or `none`.
std::vector<std::uint32_t> reshapes_to_sink(const Graph& graph) {
  const std::vector<std::uint32_t> uses = count_uses(graph);
  std::vector<char> read_elementwise(graph.nodes.size(), 0);
  std::vector<std::uint32_t> behind(graph.nodes.size(), none);
  for (auto i = static_cast<std::uint32_t>(graph.nodes.size()); i-- > 0;) {
    const GraphNode& node = graph.nodes[i];
    const bool begins = is_reshape(node) && read_elementwise[i];
    for (std::uint32_t input : node.inputs) {
      if (node.op->elementwise) read_elementwise[input] = 1;
      const std::uint32_t reshape = begins ? i : behind[i];
      if (reshape != none && uses[input] == 1 && fits_any_shape(graph, input)) behind[input] = reshape;
    }
  }
  return behind;
}

class Sinking {
 public:
  explicit Sinking(const Graph& graph)
      : graph_(graph), behind_(reshapes_to_sink(graph)), out_(graph), reshaped_(graph.nodes.size()) {}

  Graph run() {
    for (std::uint32_t i = 0; i < graph_.nodes.size(); ++i) out_.map(i, moved(i));
    return out_.finish();
  }

 private:
  std::uint32_t moved(std::uint32_t i) {
    const GraphNode& old = graph_.nodes[i];
    if (is_reshape(old)) {
      const std::uint32_t source = old.inputs[0];
      return behind_[source] == none ? reshape_of(source, old) : out_[source];
    }
    GraphNode node = out_.mapped_copy(i);
    if (behind_[i] != none) {
      const GraphNode& reshape = graph_.nodes[behind_[i]];
      node.spec.shape = reshape.spec.shape;
      for (std::size_t k = 0; k < node.inputs.size(); ++k)
        if (!is_one_number(graph_.nodes[old.inputs[k]]) && behind_[old.inputs[k]] == none)
          node.inputs[k] = reshape_of(old.inputs[k], reshape);
    }
    return out_.append(std::move(node));
  }

  /// Old node `source` in the shape that `reshape` gives; one node for all who want it.
  std::uint32_t reshape_of(std::uint32_t source, const GraphNode& reshape) {
    for (std::uint32_t made : reshaped_[source])
      if (out_.result().nodes[made].spec.shape == reshape.spec.shape) return made;
    GraphNode node = reshape;
    node.spec.dtype = graph_.nodes[source].spec.dtype;
    node.inputs = {out_[source]};
    const std::uint32_t made = out_.append(std::move(node));
    reshaped_[source].push_back(made);
    return made;
  }

  const Graph& graph_;
  std::vector<std::uint32_t> behind_;
  Rewriter out_;
  std::vector<SmallVector<std::uint32_t, 2>> reshaped_;  // per old node, its reshapes in the new graph
};

}  // namespace

Graph sink_reshapes(const Graph& graph, const PassContext&) { return Sinking(graph).run(); }

}  // namespace wick
