#pragma once

#include <functional>
#include <span>

#include "optimize/graph.h"

namespace wick {

/// A tensor that stands for a node of a graph in an expression that is recorded to replace another.
Tensor stand_in(const Spec& spec, Device device);

/// Appends the nodes that `result` was recorded from, with `stand_ins` for the nodes at `positions`; returns
/// the position of the result.
std::uint32_t append_recorded(Rewriter& out, const Tensor& result, std::span<const Tensor> stand_ins,
                              std::span<const std::uint32_t> positions, SourceLocation where);

/// Appends to the graph under construction what `expression` records with the ops' public functions on
/// stand-ins for the nodes at `inputs`; returns the position of its result. How a pass writes a replacement.
std::uint32_t record_into(Rewriter& out, std::span<const std::uint32_t> inputs, SourceLocation where,
                          const std::function<Tensor(Inputs)>& expression);

}  // namespace wick
