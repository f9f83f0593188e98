#pragma once

#include <string_view>

#include "optimize/graph.h"

namespace wick {

/// Throws InternalError, naming the pass, when `graph` is not well formed: inputs before users, specs as the
/// ops infer them, outputs in range.
void verify(const Graph& graph, std::string_view after_pass);

}  // namespace wick
