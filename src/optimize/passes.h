#pragma once

#include <span>
#include <string_view>

#include "optimize/graph.h"

namespace wick {

class Backend;

struct PassContext {
  const Backend& backend;
  bool decompose_all = false;  ///< treat every composite as unsupported
};

/// A rewrite of a graph. Passes keep the meaning and the order of the outputs.
struct Pass {
  std::string_view name;
  Graph (*run)(const Graph& graph, const PassContext& context);
  bool required = false;  ///< cannot be disabled
};

/// Replaces composite ops that the backend has no kernel for by their decomposition.
Graph lower(const Graph& graph, const PassContext& context);
/// Merges nodes of equal op, attributes and inputs.
Graph eliminate_common_subexpressions(const Graph& graph, const PassContext& context);
/// Drops nodes that no output needs.
Graph eliminate_dead_nodes(const Graph& graph, const PassContext& context);

/// Joins elementwise ops to groups that are computed in one pass over memory.
Graph fuse_elementwise(const Graph& graph, const PassContext& context);

/// Throws InternalError, naming the pass, when `graph` is not well formed: inputs before users, specs as the
/// ops infer them, outputs in range.
void verify(const Graph& graph, std::string_view after_pass);

/// The passes, in order.
std::span<const Pass> pipeline();

/// Runs the pipeline. The environment variable WICK_PASSES ("-name,-name") disables passes; verification runs
/// between all passes when WICK_VERIFY is set, and always at the end in debug builds.
Graph optimize(Graph graph, const PassContext& context);

}  // namespace wick
