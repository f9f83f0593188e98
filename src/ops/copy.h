#pragma once

#include "graph/op.h"

namespace wick {

/// The identity as a kernel: any layout in, row-major out. The planner inserts it where a kernel needs
/// row-major input.
const Op& copy_op();

}  // namespace wick
