#pragma once

#include "graph/op.h"

namespace wick {

/// The gradient of attention to q and k that were rotated, with respect to what they were before: inputs are
/// those of attention_gradient (q, k, v, the output, its gradient, [mask,] [offset]), then cos and sin of the
/// rotation (see rope) of both; attributes those of attention. The result is that of attention_gradient, the
/// three gradients one behind the other, each [batch, length, heads, d], with the first two rotated back.
/// Only the pass that makes it knows the op, and only where the backend has a kernel for it.
const Op& attention_rope_gradient_op();

}  // namespace wick
