#include "graph/elementwise_group.h"

#include <algorithm>
#include <array>
#include <numeric>

namespace wick {

std::vector<std::uint32_t> ElementwiseGroup::last_uses() const {
  std::vector<std::uint32_t> last(inputs.size() + instructions.size(), 0);
  for (std::uint32_t i = 0; i < instructions.size(); ++i) {
    last[inputs.size() + i] = i;
    for (std::uint32_t operand : instructions[i].operands) last[operand] = i;
  }
  return last;
}

std::size_t ElementwiseGroup::registers_needed() const {
  const std::vector<std::uint32_t> last = last_uses();
  std::array<std::size_t, dtype_count> live{};
  std::array<std::size_t, dtype_count> most{};
  for (std::uint32_t i = 0; i < instructions.size(); ++i) {
    const auto type = static_cast<std::size_t>(instructions[i].dtype);
    most[type] = std::max(most[type], ++live[type]);
    for (std::size_t v = inputs.size(); v < inputs.size() + i; ++v)
      if (last[v] == i) --live[static_cast<std::size_t>(dtype_of(static_cast<std::uint32_t>(v)))];
  }
  return std::accumulate(most.begin(), most.end(), inputs.size());
}

const Op& elementwise_group_op() {
  static constexpr Op op{.name = "elementwise_group", .elementwise = true};
  return op;
}

}  // namespace wick
