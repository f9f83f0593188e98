#include "optimize/supported.h"

#include <vector>

#include "backend/backend.h"

namespace wick {

bool supported(const Graph& graph, const GraphNode& node, const PassContext& context) {
  const KernelEntry* entry = context.backend.find(*node.op);
  if (!entry) return false;
  if (!entry->supports) return true;
  std::vector<Slot> slots;
  for (std::uint32_t i : node.inputs)
    slots.push_back({graph.nodes[i].spec.dtype, Layout::contiguous(graph.nodes[i].spec.shape)});
  return entry->supports(
      {*node.op, node.attrs, slots, {node.spec.dtype, Layout::contiguous(node.spec.shape)}});
}

}  // namespace wick
