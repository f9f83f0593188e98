#pragma once

#include "optimize/pass.h"

namespace wick {

/// Linear layers on few rows become one `thin_linear` with the RMS norm ahead of them and the swiglu or the
/// addition behind, where the backend has a kernel for it: layers of one x (q, k and v; gate and up)
/// together.
Graph fuse_thin_linear(const Graph& graph, const PassContext& context);

}  // namespace wick
