#pragma once

#include <memory>
#include <span>

#include "backend/cpu/elementwise_program.h"
#include "graph/elementwise_group.h"

namespace wick {

/// A group as a program; result r is store r.
ElementwiseProgram program_of(const ElementwiseGroup& group);

/// The kernel of a group on these inputs, with results of one shape.
std::unique_ptr<ElementwiseKernel> group_kernel(const ElementwiseGroup& group, std::span<const Slot> inputs,
                                                const Shape& shape);

}  // namespace wick
