#include "graph/flops.h"

#include "graph/record.h"
#include "graph/walk.h"

namespace wick {

double flops_of(const Op& op, InputSpecs inputs, const Spec& output, const Attrs& attrs) {
  if (op.flops) return op.flops(inputs, output, attrs);
  if (!op.decompose) return op.elementwise ? static_cast<double>(output.shape.elements()) : 0;
  const LazyScope lazy;
  std::vector<Tensor> stand_ins;
  for (const Spec& input : inputs)
    stand_ins.emplace_back(
        Node::make_data({nullptr, Layout::contiguous(input.shape), nullptr}, input.dtype, cpu));
  const Tensor meaning = op.decompose(stand_ins, attrs);
  const Walk parts = walk(std::span(&meaning, 1), WalkThrough::everything, stand_ins);
  double total = 0;
  for (std::size_t i = 0; i < parts.order.size(); ++i) {
    const Node& part = *parts.order[i];
    if (!part.op()) continue;
    std::vector<Spec> specs;
    for (std::uint32_t e : parts.inputs(i))
      specs.push_back({parts.order[e]->shape(), parts.order[e]->dtype()});
    total += flops_of(*part.op(), specs, {part.shape(), part.dtype()}, part.attrs());
  }
  return total;
}

}  // namespace wick
