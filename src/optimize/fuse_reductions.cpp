#include "optimize/fuse_reductions.h"

#include "graph/elementwise_group.h"
#include "ops/reduction_group.h"
#include "optimize/fuse_elementwise.h"
#include "optimize/fused_steps.h"
#include "optimize/has_kernel.h"

namespace wick {
namespace {

/// The reduction at `i` with what computes its elements, whose inputs are positions in the graph.
std::optional<GraphNode> fused(const Graph& graph, std::uint32_t i, const std::vector<std::uint32_t>& uses,
                               const PassContext& context) {
  const GraphNode& node = graph.nodes[i];
  const auto reduction = node.op ? reduction_of(*node.op) : std::nullopt;
  if (!reduction || uses[node.inputs[0]] != 1) return std::nullopt;
  const GraphNode& elements = graph.nodes[node.inputs[0]];
  const auto program = program_of(graph, node.inputs[0], context);
  if (!program || program->results.size() != 1 || !(graph.shape_of_inputs(elements) == elements.spec.shape))
    return std::nullopt;
  GraphNode step = node;
  step.op = &reduction_group_op();
  step.attrs = ReductionGroupAttrs{*reduction, node.attrs.as<ReduceAttrs>()};
  step.inputs = elements.inputs;
  step.group = std::make_shared<const ElementwiseGroup>(*program);
  if (!has_kernel(graph, step, context)) return std::nullopt;
  return step;
}

}  // namespace

bool computes_its_elements(const Graph& graph, std::uint32_t node, const std::vector<std::uint32_t>& uses,
                           const PassContext& context) {
  return fused(graph, node, uses, context).has_value();
}

Graph fuse_reductions(const Graph& graph, const PassContext& context) {
  const std::vector<std::uint32_t> uses = count_uses(graph);
  FusedSteps steps(graph);
  for (std::uint32_t i = 0; i < graph.nodes.size(); ++i)
    if (std::optional<GraphNode> step = fused(graph, i, uses, context))
      steps.put(i, *std::move(step), {graph.nodes[i].inputs.begin(), 1});
  return steps.rewritten();
}

}  // namespace wick
