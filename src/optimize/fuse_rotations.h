#pragma once

#include "optimize/pass.h"

namespace wick {

/// Where the gradients of attention with respect to q and k are only read to be rotated back, attention's
/// gradient gives them as they were before the rotation.
Graph fuse_rotations(const Graph& graph, const PassContext& context);

}  // namespace wick
