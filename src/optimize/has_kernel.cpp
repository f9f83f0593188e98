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
  for (std::uint32_t i : node.inputs) {
    const GraphNode& input = graph.nodes[i];
    slots.push_back({.dtype = input.spec.dtype,
                     .layout = Layout::contiguous(input.spec.shape),
                     .is_weight = !input.op && graph.leaves[input.leaf].is_weight,
                     .value = i});
  }
  return entry->supports({*node.op,
                          node.attrs,
                          slots,
                          {node.spec.dtype, Layout::contiguous(node.spec.shape)},
                          node.group.get()});
}

}  // namespace wick
