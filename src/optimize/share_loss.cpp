#include "optimize/share_loss.h"

#include <algorithm>
#include <vector>

#include "ops/linear_cross_entropy.h"
#include "optimize/is_op.h"
#include "optimize/record_into.h"

namespace wick {
namespace {

bool same_loss(const GraphNode& a, const GraphNode& b) {
  return a.attrs == b.attrs && std::equal(a.inputs.begin(), a.inputs.end(), b.inputs.begin(), b.inputs.end());
}

}  // namespace

Graph share_loss(const Graph& graph, const PassContext&) {
  std::vector<std::uint32_t> parts;
  for (std::uint32_t i = 0; i < graph.nodes.size(); ++i)
    if (is(graph.nodes[i], "linear_cross_entropy_parts")) parts.push_back(i);
  if (parts.empty()) return graph;

  Rewriter out(graph);
  std::vector<char> done(graph.nodes.size(), 0);
  for (std::uint32_t i = 0; i < graph.nodes.size(); ++i) {
    if (done[i]) continue;
    const GraphNode& node = graph.nodes[i];
    const auto found = is(node, "linear_cross_entropy_sum")
                           ? std::find_if(parts.begin(), parts.end(),
                                          [&](std::uint32_t p) { return same_loss(graph.nodes[p], node); })
                           : parts.end();
    if (found == parts.end()) {
      out.map(i, out.append(out.mapped_copy(i)));
      continue;
    }
    // The parts may stand later; what they need is there, for it is what the loss needs.
    if (!done[*found] && *found > i) {
      out.map(*found, out.append(out.mapped_copy(*found)));
      done[*found] = 1;
    }
    const std::uint32_t at = out[*found];
    out.map(i, record_into(out, std::span(&at, 1), node.where,
                           [](Inputs inputs) { return loss_of_parts(inputs[0]); }));
  }
  return out.finish();
}

}  // namespace wick
