#include "graph/elementwise_group.h"

namespace wick {

std::vector<std::uint32_t> ElementwiseGroup::last_uses() const {
  std::vector<std::uint32_t> last(inputs.size() + instructions.size(), 0);
  for (std::uint32_t i = 0; i < instructions.size(); ++i) {
    last[inputs.size() + i] = i;
    for (std::uint32_t operand : instructions[i].operands) last[operand] = i;
  }
  return last;
}

std::size_t ElementwiseGroup::constants() const {
  std::size_t count = 0;
  while (count < instructions.size() && instructions[count].operands.empty()) ++count;
  return count;
}

const Op& elementwise_group_op() {
  static constexpr Op op{.name = "elementwise_group", .elementwise = true};
  return op;
}

}  // namespace wick
