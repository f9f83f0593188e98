#pragma once

#include "optimize/pass.h"

namespace wick {

/// Products with adapters, and sums of them, project onto the factor themselves where the backend has a
/// kernel that does: a projection is short, and reads what the product reads. A projection that others read
/// is one more result.
Graph fuse_projections(const Graph& graph, const PassContext& context);

}  // namespace wick
