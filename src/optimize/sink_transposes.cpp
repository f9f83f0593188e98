#include "optimize/sink_transposes.h"

#include <optional>

#include "ops/attributes.h"
#include "optimize/is_op.h"

namespace wick {
namespace {

/// The only input of an elementwise node that is no single number.
std::optional<std::uint32_t> only_tensor(const Graph& graph, const GraphNode& node) {
  std::optional<std::uint32_t> found;
  for (std::uint32_t input : node.inputs) {
    if (graph.nodes[input].spec.shape.rank() == 0) continue;
    if (found) return std::nullopt;
    found = input;
  }
  return found;
}

bool can_wait_for_permute(const Graph& graph, const GraphNode& node) {
  return node.op && node.op->elementwise && only_tensor(graph, node).has_value();
}

/// Per node, whether nothing but matrix products reads it, directly or behind elementwise ops of one tensor.
std::vector<char> read_as_matrices(const Graph& graph) {
  std::vector<char> result(graph.nodes.size(), 1);
  std::vector<char> used(graph.nodes.size(), 0);
  for (std::uint32_t output : graph.outputs) result[output] = 0;
  for (std::size_t i = graph.nodes.size(); i-- > 0;) {
    const GraphNode& node = graph.nodes[i];
    const bool takes_strides =
        is(node, "matmul") || (used[i] && result[i] && can_wait_for_permute(graph, node));
    for (std::uint32_t input : node.inputs) {
      used[input] = 1;
      if (!takes_strides) result[input] = 0;
    }
  }
  for (std::size_t i = 0; i < result.size(); ++i) result[i] = static_cast<char>(result[i] & used[i]);
  return result;
}

/// Whether rows or columns stay without gaps: the innermost dimension is one of the last two afterwards.
bool keeps_a_matrix(const GraphNode& permutation) {
  const int rank = permutation.spec.shape.rank();
  const auto order = permutation.attrs.as<PermuteAttrs>().order;
  const auto last = static_cast<std::size_t>(rank - 1);
  return rank >= 2 && (order[last] == rank - 1 || order[last - 1] == rank - 1);
}

}  // namespace

Graph sink_transposes(const Graph& graph, const PassContext&) {
  const std::vector<char> by_matrices = read_as_matrices(graph);
  Rewriter out(graph);
  for (std::uint32_t i = 0; i < graph.nodes.size(); ++i) {
    GraphNode node = out.mapped_copy(i);
    const auto tensor = by_matrices[i] && can_wait_for_permute(out.result(), node)
                            ? only_tensor(out.result(), node)
                            : std::nullopt;
    if (!tensor || !is(out.result().nodes[*tensor], "permute") ||
        !keeps_a_matrix(out.result().nodes[*tensor])) {
      out.map(i, out.append(std::move(node)));
      continue;
    }
    GraphNode permutation = out.result().nodes[*tensor];
    const std::uint32_t source = permutation.inputs[0];
    for (std::uint32_t& input : node.inputs)
      if (input == *tensor) input = source;
    node.spec.shape = out.result().nodes[source].spec.shape;
    permutation.spec.dtype = node.spec.dtype;
    permutation.inputs[0] = out.append(std::move(node));
    out.map(i, out.append(std::move(permutation)));
  }
  return out.finish();
}

}  // namespace wick
