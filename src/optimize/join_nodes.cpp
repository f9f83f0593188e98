#include "optimize/join_nodes.h"

#include <queue>
#include <utility>

namespace wick {
namespace {

constexpr std::uint32_t none = ~std::uint32_t{0};

class Joining {
 public:
  Joining(const Graph& graph, const std::vector<JoinedStep>& steps)
      : graph_(graph), steps_(steps), step_of_(graph.nodes.size(), none) {
    for (std::size_t s = 0; s < steps.size(); ++s)
      for (std::uint32_t node : steps[s].nodes) step_of_[node] = static_cast<std::uint32_t>(s);
  }

  Graph run() const {
    const std::size_t count = graph_.nodes.size();
    std::vector<std::uint32_t> missing(count, 0);
    std::vector<std::vector<std::uint32_t>> readers(count);
    std::priority_queue<std::uint32_t, std::vector<std::uint32_t>, std::greater<>> ready;
    std::size_t left = 0;
    for (std::uint32_t i = 0; i < count; ++i) {
      if (unit_of(i) != i) continue;
      ++left;
      for (std::uint32_t input : inputs_of(i)) {
        ++missing[i];
        readers[unit_of(input)].push_back(i);
      }
      if (missing[i] == 0) ready.push(i);
    }
    Rewriter out(graph_);
    for (; !ready.empty(); --left) {
      const std::uint32_t i = ready.top();
      ready.pop();
      if (step_of_[i] == none)
        out.map(i, out.append(out.mapped_copy(i)));
      else
        append(out, steps_[step_of_[i]]);
      for (std::uint32_t reader : readers[i])
        if (--missing[reader] == 0) ready.push(reader);
    }
    return left == 0 ? out.finish() : graph_;
  }

 private:
  /// A node by its position, those of a step by that of the first.
  std::uint32_t unit_of(std::uint32_t i) const {
    return step_of_[i] == none ? i : steps_[step_of_[i]].nodes.front();
  }

  const SmallVector<std::uint32_t, 3>& inputs_of(std::uint32_t unit) const {
    return step_of_[unit] == none ? graph_.nodes[unit].inputs : steps_[step_of_[unit]].step.inputs;
  }

  void append(Rewriter& out, const JoinedStep& joined) const {
    GraphNode step = joined.step;
    for (std::uint32_t& input : step.inputs) input = out[input];
    const std::uint32_t position = out.append(std::move(step));
    out.map(joined.nodes.front(), position);
    for (std::size_t m = 1; m < joined.nodes.size(); ++m)
      out.map(joined.nodes[m], out.append(pick(position, m, graph_.nodes[joined.nodes[m]])));
  }

  const Graph& graph_;
  const std::vector<JoinedStep>& steps_;
  std::vector<std::uint32_t> step_of_;  // of each node, or none
};

}  // namespace

Graph join_nodes(const Graph& graph, const std::vector<JoinedStep>& steps) {
  return steps.empty() ? graph : Joining(graph, steps).run();
}

}  // namespace wick
