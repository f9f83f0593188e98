#pragma once

#include "graph/op.h"

namespace wick {

/// Floating-point operations of one op, as Op::flops counts them; those of a composite without a count of its
/// own are its decomposition's.
double flops_of(const Op& op, InputSpecs inputs, const Spec& output, const Attrs& attrs);

}  // namespace wick
