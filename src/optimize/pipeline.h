#pragma once

#include <functional>
#include <span>

#include "optimize/pass.h"

namespace wick {

/// The passes, in order.
std::span<const Pass> pipeline();

/// Told of each pass that ran: the graph before and after it, and the time it took.
using PassObserver =
    std::function<void(const Pass& pass, const Graph& before, const Graph& after, double milliseconds)>;

/// Runs the pipeline. The environment variable WICK_PASSES ("-name,-name") disables passes; verification runs
/// between all passes when WICK_VERIFY is set, and always at the end in debug builds.
Graph optimize(Graph graph, const PassContext& context, const PassObserver& observer = {});

}  // namespace wick
