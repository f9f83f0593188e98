#pragma once

#include "graph/op.h"

namespace wick {

/// Checks x [..., in], weight [out, in] and bias (none, or one of [out]); the spec of x weight^T + bias.
Spec infer_linear(const Spec& x, const Spec& weight, InputSpecs bias);

/// Floating-point operations of x weight^T + bias.
double linear_flops(const Spec& x, const Spec& weight, bool has_bias);

/// [..., d] as [rows, d].
Tensor flat_rows(const Tensor& x);

}  // namespace wick
