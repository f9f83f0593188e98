#pragma once

#include "optimize/pass.h"

namespace wick {

/// Joins groups that do the same to different values into one batch, where they have waited for one number
/// anyway: the updates of all parameters of an optimizer, which wait for the gradients' norm.
Graph batch_groups(const Graph& graph, const PassContext& context);

}  // namespace wick
