#pragma once

#include "optimize/pass.h"

namespace wick {

/// Joins elementwise groups (and ops with groups) of one shape that read the same values, or each other's, to
/// groups of several results: an optimizer's update of a parameter and its moments is one pass over memory. A
/// group with more than one result is followed by a `pick` for each but the first.
Graph merge_groups(const Graph& graph, const PassContext& context);

}  // namespace wick
