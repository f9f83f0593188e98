#include "optimize/append_to_cache.h"

#include <vector>

#include "backend/backend.h"
#include "ops/append_attention.h"
#include "ops/attributes.h"
#include "optimize/dead_nodes.h"
#include "optimize/has_kernel.h"
#include "optimize/pattern.h"

namespace wick {
namespace {

/// One position of one layer.
struct Appending {
  Pattern q, k, v, cos, sin, k_cache, v_cache, position;
  Pattern turned_q = op("rope", q, cos, sin);
  Pattern turned_k = op("rope", k, cos, sin);
  Pattern all_k = op("slice_update", k_cache, turned_k, position);
  Pattern all_v = op("slice_update", v_cache, v, position);
  Pattern whole = op("attention", turned_q, all_k, all_v, position);
};

/// How often each node is read by others.
std::vector<std::uint32_t> count_reads(const Graph& graph) {
  std::vector<std::uint32_t> reads(graph.nodes.size(), 0);
  for (const GraphNode& node : graph.nodes)
    for (std::uint32_t input : node.inputs) ++reads[input];
  return reads;
}

GraphNode fused(const Found& found, const Appending& step) {
  GraphNode node;
  node.op = &append_attention_op();
  node.attrs = found.root().attrs;
  node.spec = found.root().spec;
  node.where = found.root().where;
  for (const Pattern* input :
       {&step.q, &step.k, &step.v, &step.cos, &step.sin, &step.k_cache, &step.v_cache, &step.position})
    node.inputs.push_back(found.position(*input));
  return node;
}

bool is_step(const Found& found, const Appending& step, const std::vector<std::uint32_t>& reads) {
  const auto options = found.root().attrs.as<AttentionAttrs>();
  const auto along_positions = [&](const Pattern& update) {
    return found.node(update).attrs.as<AxisAttrs>().axis == 2;
  };
  for (const Pattern* part : {&step.turned_q, &step.turned_k, &step.all_k, &step.all_v})
    if (reads[found.position(*part)] != 1) return false;
  return options.has_offset != 0 && options.causal != 0 && found.root().spec.shape[2] == 1 &&
         along_positions(step.all_k) && along_positions(step.all_v);
}

}  // namespace

Graph append_to_cache(const Graph& graph, const PassContext& context) {
  if (context.decompose_all || !context.backend.find(append_attention_op())) return graph;
  static const Appending& step = *new Appending;  // never destroyed: workers may outlive static objects
  const std::vector<std::uint32_t> reads = count_reads(graph);
  Rewriter out(graph);
  for (std::uint32_t i = 0; i < graph.nodes.size(); ++i) {
    const std::optional<Found> found = find(graph, i, step.whole);
    GraphNode node;
    const bool fits =
        found && is_step(*found, step, reads) && has_kernel(graph, node = fused(*found, step), context);
    if (!fits) {
      out.map(i, out.append(out.mapped_copy(i)));
      continue;
    }
    for (std::uint32_t& input : node.inputs) input = out[input];
    const std::uint32_t at = out.append(node);
    out.map(i, at);
    std::size_t result = 0;
    for (const Pattern* update : {&step.all_k, &step.all_v})
      out.map(found->position(*update), out.append(pick(at, ++result, found->node(*update))));
  }
  return eliminate_dead_nodes(out.finish(), context);
}

}  // namespace wick
