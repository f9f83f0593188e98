#include "optimize/record_into.h"

#include "graph/record.h"
#include "wick/error.h"

namespace wick {

std::uint32_t record_into(Rewriter& out, std::span<const std::uint32_t> inputs, SourceLocation where,
                          const std::function<Tensor(Inputs)>& expression) {
  const LazyScope lazy;
  const LocationScope location(where);
  std::vector<Tensor> stand_ins;
  for (std::uint32_t i : inputs) {
    const Spec& spec = out.result().nodes[i].spec;
    stand_ins.emplace_back(
        Node::make_data({nullptr, Layout::contiguous(spec.shape), nullptr}, spec.dtype, out.result().device));
  }
  const Tensor result = expression(stand_ins);
  const Walk parts = walk(std::span(&result, 1), WalkThrough::everything, stand_ins);
  std::vector<std::uint32_t> position(parts.order.size());
  for (std::size_t p = 0; p < parts.order.size(); ++p) {
    const Node& part = *parts.order[p];
    if (!part.op()) {
      std::size_t k = 0;
      while (k < stand_ins.size() && stand_ins[k].node() != &part) ++k;
      if (k == stand_ins.size()) throw InternalError("a pass recorded data; it must be constants");
      position[p] = inputs[k];
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

}  // namespace wick
