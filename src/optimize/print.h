#pragma once

#include <string>

#include "optimize/graph.h"

namespace wick {

/// "[neg a0; mul v0 a1]": operands are the inputs a0, a1, ... and the values v0, v1, ... of instructions.
std::string print(const ElementwiseGroup& group);

/// One line a node: "%3 = mul(%1, %2) : f32[4]".
std::string print(const Graph& graph);

/// The nodes that only one of two graphs has, a line each: "- " those of `before`, then "+ " those of
/// `after`. Nodes are the same when op, attributes, result and the inputs' specs are; renumbering is no
/// change. Empty when nothing changed.
std::string changes(const Graph& before, const Graph& after);

}  // namespace wick
