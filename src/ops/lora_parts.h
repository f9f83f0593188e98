#pragma once

#include <vector>

#include "graph/op.h"
#include "ops/attributes.h"

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

/// The sum of several updates as one step, which passes make, rounded once; or one update that projects.
/// Inputs are x, weight, t and b of the members, one after the other, then the bias, if there is one. A
/// member may be a product only, without t and b, or it may project: then a is in the place of t, as in a
/// projection that is `transposed` where the update is. The results are the sum, and the t of members that
/// keep it.
const Op& lora_update_sum_op();

/// Where a member of a sum has its inputs: its weight behind x, and b behind t or a.
struct LoraUpdateMember {
  std::size_t x = 0;
  std::size_t factor = 0;  ///< t, or a if it projects; 0: none
  bool projects = false;
  bool keeps = false;  ///< its t as a result
  std::size_t weight() const { return x + 1; }
  std::size_t b() const { return factor + 1; }
};
std::vector<LoraUpdateMember> lora_update_members(std::size_t inputs, const LoraUpdateSumAttrs& attrs);

/// Several projections, or gradients, as one step, which passes make: the inputs and the results are those of
/// the members, one after the other. Projections have the same attributes, gradients a bit each.
const Op& lora_projections_op();
const Op& lora_gradients_op();

}  // namespace wick
