#include "optimize/dead_nodes.h"

namespace wick {

Graph eliminate_dead_nodes(const Graph& graph, const PassContext&) {
  std::vector<char> alive(graph.nodes.size(), 0);
  for (std::uint32_t o : graph.outputs) alive[o] = 1;
  for (std::size_t i = graph.nodes.size(); i-- > 0;)
    if (alive[i])
      for (std::uint32_t input : graph.nodes[i].inputs) alive[input] = 1;
  Rewriter out(graph);
  for (std::uint32_t i = 0; i < graph.nodes.size(); ++i)
    if (alive[i]) out.map(i, out.append(out.mapped_copy(i)));
  return out.finish();
}

}  // namespace wick
