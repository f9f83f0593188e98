#pragma once

#include "graph/op.h"

namespace wick {

/// Checks x [..., d] and any number of parameters [d] behind it, and that eps is not negative; the spec of x.
Spec infer_norm(InputSpecs inputs, double eps);

}  // namespace wick
