#include "optimize/join_nodes.h"

#include <queue>
#include <utility>

namespace wick {
namespace {

constexpr std::uint32_t none = ~std::uint32_t{0};

class Joining {
 public:
  Joining(const Graph& graph, const std::vector<JoinedNodes>& sets) : graph_(graph), sets_(sets) {
    set_of_.resize(graph.nodes.size(), none);
    for (std::size_t s = 0; s < sets.size(); ++s)
      for (std::uint32_t member : sets[s]) set_of_[member] = static_cast<std::uint32_t>(s);
  }

  Graph run(const std::function<GraphNode(const JoinedNodes&)>& step_of) const {
    const std::size_t count = graph_.nodes.size();
    std::vector<std::uint32_t> missing(count, 0);
    std::vector<std::vector<std::uint32_t>> readers(count);
    std::priority_queue<std::uint32_t, std::vector<std::uint32_t>, std::greater<>> ready;
    for (std::uint32_t i = 0; i < count; ++i)
      for (std::uint32_t input : graph_.nodes[i].inputs) {
        ++missing[unit_of(i)];
        readers[unit_of(input)].push_back(unit_of(i));
      }
    std::size_t left = 0;
    for (std::uint32_t i = 0; i < count; ++i) {
      if (unit_of(i) != i) continue;
      ++left;
      if (missing[i] == 0) ready.push(i);
    }
    Rewriter out(graph_);
    for (; !ready.empty(); --left) {
      const std::uint32_t i = ready.top();
      ready.pop();
      if (set_of_[i] == none)
        out.map(i, out.append(out.mapped_copy(i)));
      else
        append(out, sets_[set_of_[i]], step_of(sets_[set_of_[i]]));
      for (std::uint32_t reader : readers[i])
        if (--missing[reader] == 0) ready.push(reader);
    }
    return left == 0 ? out.finish() : graph_;
  }

 private:
  /// A node by its position, the members of a step by that of the first.
  std::uint32_t unit_of(std::uint32_t i) const { return set_of_[i] == none ? i : sets_[set_of_[i]].front(); }

  void append(Rewriter& out, const JoinedNodes& members, GraphNode step) const {
    for (std::uint32_t& input : step.inputs) input = out[input];
    const std::uint32_t position = out.append(std::move(step));
    out.map(members.front(), position);
    for (std::size_t m = 1; m < members.size(); ++m)
      out.map(members[m], out.append(pick(position, m, graph_.nodes[members[m]])));
  }

  const Graph& graph_;
  const std::vector<JoinedNodes>& sets_;
  std::vector<std::uint32_t> set_of_;  // of each member
};

}  // namespace

Graph join_nodes(const Graph& graph, const std::vector<JoinedNodes>& sets,
                 const std::function<GraphNode(const JoinedNodes&)>& step_of) {
  return sets.empty() ? graph : Joining(graph, sets).run(step_of);
}

}  // namespace wick
