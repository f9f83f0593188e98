#pragma once

#include "optimize/pass.h"

namespace wick {

/// Sums of linear layers' products with adapters, as gradients of what several layers read are, become one
/// step: the products are more depth of one.
Graph sum_updates(const Graph& graph, const PassContext& context);

}  // namespace wick
