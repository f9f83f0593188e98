#pragma once

#include "graph/op.h"

namespace wick {

/// combine(activation(x weight^T + bias), other): a product with what is done to its result before it is
/// written, as LinearEpilogueAttrs say. Inputs are x [..., in], weight [out, in] (or [in, out] when
/// `transposed`), [a bias of `out` elements,] [other, like the result]. The optimiser makes it where a
/// backend has a kernel. 16-bit floats are rounded in the end; a product may be before relu, too.
const Op& linear_epilogue_op();

}  // namespace wick
