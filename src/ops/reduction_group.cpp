#include "ops/reduction_group.h"

#include <array>

#include "ops/reduce_shapes.h"

namespace wick {
namespace {

constexpr std::array<std::string_view, 3> names{"sum", "max", "min"};

std::string describe(const Attrs& attrs) {
  const auto group = attrs.as<ReductionGroupAttrs>();
  return std::string(name_of(group.reduction)) + " " + describe_reduction(group.axes);
}

}  // namespace

const Op& reduction_group_op() {
  static constexpr Op op{.name = "reduction_group", .describe = describe};
  return op;
}

std::optional<Reduction> reduction_of(const Op& op) {
  for (std::size_t i = 0; i < names.size(); ++i)
    if (op.name == names[i]) return static_cast<Reduction>(i);
  return std::nullopt;
}

std::string_view name_of(Reduction reduction) { return names[static_cast<std::size_t>(reduction)]; }

}  // namespace wick
