#pragma once

#include "optimize/pass.h"

namespace wick {

/// Where a linear_cross_entropy_sum stands beside the linear_cross_entropy_parts of its gradient, takes the
/// loss from the parts: training then computes the logits once.
Graph share_loss(const Graph& graph, const PassContext& context);

}  // namespace wick
