#include "graph/elementwise_group.h"

#include <algorithm>
#include <string>
#include <utility>

namespace wick {

std::vector<std::uint32_t> ElementwiseGroup::last_uses() const {
  std::vector<std::uint32_t> last(inputs.size() + instructions.size(), 0);
  for (std::uint32_t i = 0; i < instructions.size(); ++i) {
    last[inputs.size() + i] = i;
    for (std::uint32_t operand : instructions[i].operands) last[operand] = i;
  }
  return last;
}

std::vector<std::uint32_t> ElementwiseGroup::nearest_inputs(std::uint32_t value) const {
  std::vector<std::uint32_t> found;
  std::vector<std::uint32_t> reached{value};
  std::vector<char> seen(inputs.size() + instructions.size(), 0);
  for (std::size_t i = 0; i < reached.size(); ++i) {
    if (reached[i] < inputs.size()) {
      found.push_back(reached[i]);
      continue;
    }
    const auto& operands = instructions[reached[i] - inputs.size()].operands;
    for (std::size_t k = operands.size(); k-- > 0;)
      if (!std::exchange(seen[operands[k]], 1)) reached.push_back(operands[k]);
  }
  for (std::uint32_t input = 0; input < inputs.size(); ++input)
    if (std::find(found.begin(), found.end(), input) == found.end()) found.push_back(input);
  return found;
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

const Op& elementwise_batch_op() {
  static constexpr Op op{.name = "elementwise_batch", .elementwise = true};
  return op;
}

const Op& pick_op() {
  static constexpr Op op{
      .name = "pick",
      .describe = [](const Attrs& attrs) -> std::string {
        return "result " + std::to_string(attrs.as<PickAttrs>().result);
      },
  };
  return op;
}

}  // namespace wick
