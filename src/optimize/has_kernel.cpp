#include "optimize/has_kernel.h"

#include <vector>

#include "backend/backend.h"

namespace wick {

bool has_kernel(const Graph& graph, const GraphNode& node, const PassContext& context) {
  if (context.decompose_all && node.op->decompose) return false;
  const KernelEntry* entry = context.backend.find(*node.op);
  if (!entry) return false;
  if (!entry->supports) return true;
  std::vector<Slot> slots;
  for (std::uint32_t i : node.inputs)
    slots.push_back({.dtype = graph.nodes[i].spec.dtype,
                     .layout = Layout::contiguous(graph.nodes[i].spec.shape),
                     .value = i});
  return entry->supports({*node.op,
                          node.attrs,
                          slots,
                          {node.spec.dtype, Layout::contiguous(node.spec.shape)},
                          node.group.get()});
}

}  // namespace wick
