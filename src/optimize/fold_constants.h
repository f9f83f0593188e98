#pragma once

#include "optimize/pass.h"

namespace wick {

/// Computes once, now, what depends on no data: a single number becomes a constant, a small array data of the
/// plan.
Graph fold_constants(const Graph& graph, const PassContext& context);

}  // namespace wick
