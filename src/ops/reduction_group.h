#pragma once

#include <optional>

#include "graph/op.h"
#include "ops/attributes.h"

namespace wick {

enum class Reduction : std::int64_t { sum, max, min };

struct ReductionGroupAttrs {
  Reduction reduction;
  ReduceAttrs axes;
};

/// Elementwise ops whose result, the only one of the node's group, is reduced and read by nobody else: the
/// inputs, broadcast to one shape, are passed over once, and the elements are not stored.
const Op& reduction_group_op();

/// Of sum, max or min.
std::optional<Reduction> reduction_of(const Op& op);
std::string_view name_of(Reduction reduction);

}  // namespace wick
