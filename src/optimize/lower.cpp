#include "optimize/lower.h"

#include "graph/record.h"
#include "optimize/has_kernel.h"
#include "wick/error.h"

namespace wick {
namespace {

Tensor placeholder(const Spec& spec, Device device) {
  return Tensor(Node::make_data({nullptr, Layout::contiguous(spec.shape), nullptr}, spec.dtype, device));
}

/// Appends `node` (inputs are positions in `graph`), or its decomposition; returns the position of the
/// result. The recursion is as deep as composites are nested in the ops' own definitions.
std::uint32_t append_lowered(Rewriter& out, GraphNode node, const PassContext& context) {
  Graph& graph = out.result();
  const bool keep = !node.op || !node.op->decompose || has_kernel(graph, node, context);
  if (keep) return out.append(std::move(node));

  std::vector<Tensor> inputs;
  for (std::uint32_t i : node.inputs) inputs.push_back(placeholder(graph.nodes[i].spec, graph.device));
  const LocationScope scope(node.where);
  const Tensor meaning = node.op->decompose(inputs, node.attrs);
  const Walk parts = walk(std::span(&meaning, 1), WalkThrough::everything, inputs);

  std::vector<std::uint32_t> position(parts.order.size());
  for (std::size_t p = 0; p < parts.order.size(); ++p) {
    const Node& part = *parts.order[p];
    bool is_input = false;
    for (std::size_t k = 0; k < inputs.size() && !is_input; ++k) {
      is_input = inputs[k].node() == &part;
      if (is_input) position[p] = node.inputs[k];
    }
    if (is_input) continue;
    if (!part.op())
      throw InternalError("the decomposition of " + std::string(node.op->name) +
                          " records data; it must be constants");
    GraphNode copy;
    copy.op = part.op();
    copy.attrs = part.attrs();
    copy.spec = {part.shape(), part.dtype()};
    copy.where = node.where;
    for (std::uint32_t e : parts.inputs(p)) copy.inputs.push_back(position[e]);
    position[p] = append_lowered(out, std::move(copy), context);
  }
  return position[parts.roots[0]];
}

}  // namespace

Graph lower(const Graph& graph, const PassContext& context) {
  const LazyScope lazy;
  Rewriter out(graph);
  for (std::uint32_t i = 0; i < graph.nodes.size(); ++i)
    out.map(i, append_lowered(out, out.mapped_copy(i), context));
  return out.finish();
}

}  // namespace wick
