#include "optimize/join_siblings.h"

#include <map>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "ops/linears.h"
#include "optimize/has_kernel.h"
#include "optimize/join_nodes.h"

namespace wick {
namespace {

/// Of one step, at most: as many layers read one input in a decoder.
constexpr std::size_t most_layers = 4;

/// Inputs are positions in `graph`.
GraphNode step_of(const Graph& graph, const JoinedNodes& layers) {
  GraphNode step = graph.nodes[layers.front()];
  step.op = &linears_op();
  step.inputs = {step.inputs[0]};
  for (std::uint32_t layer : layers)
    for (std::size_t i = 1; i < graph.nodes[layer].inputs.size(); ++i)
      step.inputs.push_back(graph.nodes[layer].inputs[i]);
  return step;
}

}  // namespace

Graph join_siblings(const Graph& graph, const PassContext& context) {
  if (!context.backend.find(linears_op())) return graph;
  std::map<std::uint32_t, JoinedNodes> by_input;
  for (std::uint32_t i = 0; i < graph.nodes.size(); ++i)
    if (graph.nodes[i].op && graph.nodes[i].op->name == "linear")
      by_input[graph.nodes[i].inputs[0]].push_back(i);
  std::vector<JoinedStep> steps;
  for (auto& [x, layers] : by_input) {
    if (layers.size() < 2 || layers.size() > most_layers) continue;
    GraphNode step = step_of(graph, layers);
    if (has_kernel(graph, step, context)) steps.push_back({std::move(layers), std::move(step)});
  }
  return join_nodes(graph, steps);
}

}  // namespace wick
