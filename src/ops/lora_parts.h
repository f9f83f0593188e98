#pragma once

#include "graph/op.h"

// What lora_linear and its gradient are made of: composites that a backend may have kernels for which neither
// widen the activations nor pass over them more often than once. `t` is [..., rank] in the adapter's dtype.
namespace wick {

/// lora_linear; or x weight + bias + scale ((x a) b) when `transposed`: weight [in, out], bias [out] or
/// empty, a [in, rank], b [rank, out].
Tensor record_lora_linear(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& a,
                          const Tensor& b, double scale, bool transposed, SourceLocation where = {});

/// scale x a^T: x [..., in], a [rank, in], or [in, rank] when `transposed`.
Tensor lora_projection(const Tensor& x, const Tensor& a, double scale, bool transposed);

/// x weight^T + bias + t b^T in x's dtype: weight [out, in], bias [out] or empty, b [out, rank]; when
/// `transposed`, weight is [in, out] and b [rank, out].
Tensor lora_update(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& t,
                   const Tensor& b, bool transposed);

/// x^T t over all rows in t's dtype, [in, rank], or [rank, in] when `transposed`.
Tensor lora_gradient(const Tensor& x, const Tensor& t, bool transposed);

/// The sum of several updates without bias as one step, which a pass makes, rounded once. Inputs are x,
/// weight, t and b of the members, one after the other; a member may be a product only, without t and b.
const Op& lora_update_sum_op();

/// Several projections, or gradients, as one step, which passes make: the inputs and the results are those of
/// the members, one after the other. Projections have the same attributes, gradients a bit each.
const Op& lora_projections_op();
const Op& lora_gradients_op();

}  // namespace wick
