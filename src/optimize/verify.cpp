#include "optimize/verify.h"

#include <fmt/format.h>

#include "wick/error.h"

namespace wick {
namespace {

/// Whether each member has the inputs that the program asks for, its own ones of one shape.
bool is_whole_batch(const Graph& graph, const GraphNode& node) {
  const ElementwiseGroup& group = *node.group;
  const std::size_t own = group.inputs.size() - group.shared;
  if (own == 0 || (node.inputs.size() - group.shared) % own != 0) return false;
  for (std::size_t m = 0; m < group.members(node.inputs.size()); ++m) {
    const Shape& shape = graph.nodes[node.inputs[group.input_of(m, group.shared)]].spec.shape;
    for (std::size_t k = 0; k < group.inputs.size(); ++k) {
      const Spec& spec = graph.nodes[node.inputs[group.input_of(m, k)]].spec;
      if (spec.dtype != group.inputs[k] || (k >= group.shared && !(spec.shape == shape))) return false;
    }
  }
  return true;
}

Spec picked(const Graph& graph, const GraphNode& pick) {
  return graph.result_specs(
      graph.nodes[pick.inputs[0]])[static_cast<std::size_t>(pick.attrs.as<PickAttrs>().result)];
}

}  // namespace

void verify(const Graph& graph, std::string_view after_pass) {
  const auto fail = [&](const std::string& what) {
    throw InternalError(fmt::format("graph verifier, after {}: {}", after_pass, what));
  };
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    const GraphNode& node = graph.nodes[i];
    if (!node.op) {
      if (node.leaf >= graph.leaves.size())
        fail(fmt::format("node {} names leaf {}, which does not exist", i, node.leaf));
      if (!(graph.leaves[node.leaf].layout.shape == node.spec.shape))
        fail(fmt::format("leaf {} has two shapes", i));
      continue;
    }
    for (std::uint32_t input : node.inputs)
      if (input >= i)
        fail(fmt::format("node {} ({}) uses node {}, which is not before it", i, node.op->name, input));
    if (node.op == &elementwise_batch_op()) {
      if (!is_whole_batch(graph, node)) fail(fmt::format("the members of batch {} differ", i));
      continue;
    }
    if (node.group) {
      if (node.group->inputs.size() != node.inputs.size())
        fail(fmt::format("group {} has other inputs than its node", i));
      continue;
    }
    const Spec inferred =
        node.op == &pick_op() ? picked(graph, node) : node.op->infer(graph.input_specs(node), node.attrs);
    if (!(inferred == node.spec))
      fail(fmt::format("node {} ({}) says {}{}, its op infers {}{}", i, node.op->name,
                       name_of(node.spec.dtype), node.spec.shape.str(), name_of(inferred.dtype),
                       inferred.shape.str()));
  }
  for (std::uint32_t o : graph.outputs)
    if (o >= graph.nodes.size()) fail(fmt::format("output {} does not exist", o));
}

}  // namespace wick
