#pragma once

#include "optimize/pass.h"

namespace wick {

/// Merges nodes of equal op, attributes and inputs.
Graph eliminate_common_subexpressions(const Graph& graph, const PassContext& context);

}  // namespace wick
