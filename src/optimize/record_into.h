#pragma once

#include <functional>
#include <span>

#include "optimize/graph.h"

namespace wick {

/// Appends to the graph under construction what `expression` records with the ops' public functions on
/// stand-ins for the nodes at `inputs`; returns the position of its result. How a pass writes a replacement.
std::uint32_t record_into(Rewriter& out, std::span<const std::uint32_t> inputs, SourceLocation where,
                          const std::function<Tensor(Inputs)>& expression);

}  // namespace wick
