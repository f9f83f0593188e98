#pragma once

#include <functional>
#include <span>

#include "optimize/pass.h"

namespace wick {

/// The passes, in order.
std::span<const Pass> pipeline();

/// The names of the passes that make one op of several.
std::vector<std::string_view> joining_passes();

/// Told of each pass that ran: the graph before and after it, and the time it took.
using PassObserver =
    std::function<void(const Pass& pass, const Graph& before, const Graph& after, double milliseconds)>;

/// Runs the pipeline without the passes that WICK_PASSES and DisablePassesScope disable. WICK_VERIFY=1
/// verifies the graph after every pass (debug builds always do after the last one); WICK_PASSES_PRINT=1
/// writes what each pass changed to standard error.
Graph optimize(Graph graph, const PassContext& context, const PassObserver& observer = {});

/// Runs the pipeline until `recognize` has found composites, and not what follows.
Graph optimize_until_recognized(Graph graph, const PassContext& context);

}  // namespace wick
