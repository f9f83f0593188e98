#pragma once

#include "optimize/pass.h"

namespace wick {

/// Elementwise ops ahead of a reshape that elementwise ops read run behind it, in the shape of their readers,
/// so that one pass computes both: a gradient that a product made of rows [n, d] joins a group over [b, t,
/// d].
Graph sink_reshapes(const Graph& graph, const PassContext& context);

}  // namespace wick
