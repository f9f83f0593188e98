#pragma once

#include "optimize/pass.h"

namespace wick {

/// A product, and what is done to its result before anybody else reads it, become one step: a bias, an
/// activation, and a sum or product with another tensor, as far as the backend has a kernel for it.
Graph fuse_epilogues(const Graph& graph, const PassContext& context);

}  // namespace wick
