#include "graph/elementwise_group.h"

#include <string>

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

const Op& pick_op() {
  static constexpr Op op{
      .name = "pick",
      .infer = [](InputSpecs inputs, const Attrs& attrs) -> Spec {
        return {inputs[0].shape, static_cast<DType>(attrs.as<PickAttrs>().dtype)};
      },
      .describe = [](const Attrs& attrs) -> std::string {
        return "result " + std::to_string(attrs.as<PickAttrs>().result);
      },
  };
  return op;
}

}  // namespace wick
