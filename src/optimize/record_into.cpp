#include "optimize/record_into.h"

#include "graph/record.h"
#include "wick/error.h"

namespace wick {

Tensor stand_in(const Spec& spec, Device device) {
  return Tensor(Node::make_data({nullptr, Layout::contiguous(spec.shape), nullptr}, spec.dtype, device));
}

std::uint32_t append_recorded(Rewriter& out, const Tensor& result, std::span<const Tensor> stand_ins,
                              std::span<const std::uint32_t> positions, SourceLocation where) {
  const Walk parts = walk(std::span(&result, 1), WalkThrough::everything, stand_ins);
  std::vector<std::uint32_t> position(parts.order.size());
  for (std::size_t p = 0; p < parts.order.size(); ++p) {
    const Node& part = *parts.order[p];
    if (!part.op()) {
      std::size_t k = 0;
      while (k < stand_ins.size() && stand_ins[k].node() != &part) ++k;
      if (k == stand_ins.size()) throw InternalError("a pass recorded data; it must be constants");
      position[p] = positions[k];
      continue;
    }
    GraphNode node;
    node.op = part.op();
    node.attrs = part.attrs();
    node.spec = {part.shape(), part.dtype()};
    node.where = where;
    for (std::uint32_t e : parts.inputs(p)) node.inputs.push_back(position[e]);
    position[p] = out.append(std::move(node));
  }
  return position[parts.roots[0]];
}

std::uint32_t record_into(Rewriter& out, std::span<const std::uint32_t> inputs, SourceLocation where,
                          const std::function<Tensor(Inputs)>& expression) {
  const LazyScope lazy;
  const LocationScope location(where);
  std::vector<Tensor> stand_ins;
  for (std::uint32_t i : inputs)
    stand_ins.push_back(stand_in(out.result().nodes[i].spec, out.result().device));
  return append_recorded(out, expression(stand_ins), stand_ins, inputs, where);
}

}  // namespace wick
