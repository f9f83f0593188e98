#pragma once

#include "optimize/pass.h"

namespace wick {

/// Applies the rules of simplify_rules.h, inputs before users, until none of them fits.
Graph simplify(const Graph& graph, const PassContext& context);

}  // namespace wick
