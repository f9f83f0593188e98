#include "optimize/fused_steps.h"

#include <utility>

namespace wick {
namespace {

constexpr std::uint32_t none = ~std::uint32_t{0};

}  // namespace

FusedSteps::FusedSteps(const Graph& graph)
    : graph_(graph), step_of_(graph.nodes.size(), none), absorbed_(graph.nodes.size(), 0) {}

void FusedSteps::put(std::uint32_t node, GraphNode step, std::span<const std::uint32_t> absorbed) {
  for (std::uint32_t i : absorbed) absorbed_[i] = 1;
  step_of_[node] = static_cast<std::uint32_t>(steps_.size());
  steps_.push_back(std::move(step));
}

const GraphNode* FusedSteps::at(std::uint32_t node) const {
  return step_of_[node] == none ? nullptr : &steps_[step_of_[node]];
}

Graph FusedSteps::rewritten() const {
  if (steps_.empty()) return graph_;
  Rewriter out(graph_);
  for (std::uint32_t i = 0; i < graph_.nodes.size(); ++i) {
    if (absorbed_[i]) continue;
    GraphNode next = at(i) ? *at(i) : graph_.nodes[i];
    for (std::uint32_t& input : next.inputs) input = out[input];
    out.map(i, out.append(std::move(next)));
  }
  return out.finish();
}

}  // namespace wick
