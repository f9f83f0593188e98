#pragma once

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
  bool joins = false;     ///< makes one op of several: left out where single ops are looked at
};

}  // namespace wick
