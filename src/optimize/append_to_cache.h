#pragma once

#include "optimize/pass.h"

namespace wick {

/// Attention of one generated position, the rotation of its query and key and both updates of the cache
/// become one `append_attention`, where the backend has a kernel for it.
Graph append_to_cache(const Graph& graph, const PassContext& context);

}  // namespace wick
