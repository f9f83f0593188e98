#pragma once

#include "graph/op.h"
#include "ops/attributes.h"

namespace wick {

struct LinearCrossEntropyAttrs {
  CrossEntropyAttrs loss;
  std::int64_t transposed;  ///< the weight is [d, classes]
};

/// What the gradient of `linear_cross_entropy_sum` needs, computed together with the loss. Inputs are hidden,
/// weight and targets; the output is one row of numbers (f32, or f64 for f64) with these parts in order.
struct LossParts {
  std::int64_t gradient;   ///< numbers: of the sum with respect to hidden
  std::int64_t log_norms;  ///< numbers: log(sum(exp(logits))), one a row of hidden
  std::int64_t size() const noexcept { return gradient + log_norms + 1; }  ///< the sum comes last

  static LossParts of(const Shape& hidden) { return {hidden.elements(), hidden.without(-1).elements()}; }
};

/// The sum, as a rank-0 tensor, from the parts.
Tensor loss_of_parts(const Tensor& parts);

/// `linear_cross_entropy_sum` of a weight that lies as `attrs` say.
Tensor record_loss_sum(const Tensor& hidden, const Tensor& weight, const Tensor& targets,
                       const LinearCrossEntropyAttrs& attrs, SourceLocation where = {});

Tensor record_loss_parts(const Tensor& hidden, const Tensor& weight, const Tensor& targets,
                         const Attrs& attrs);

}  // namespace wick
