#pragma once

#include "graph/op.h"

namespace wick {

/// Checks x [..., in], weight [out, in] and bias (none, or one of [out]); the spec of x weight^T + bias.
Spec infer_linear(const Spec& x, const Spec& weight, InputSpecs bias);

/// A matrix [in, out] as [out, in], or as it is where it is not `transposed`.
Spec untransposed(const Spec& matrix, bool transposed);

/// Floating-point operations of x weight^T + bias.
double linear_flops(const Spec& x, const Spec& weight, bool has_bias);

/// [..., d] as [rows, d].
Tensor flat_rows(const Tensor& x);

}  // namespace wick
