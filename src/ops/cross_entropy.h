#pragma once

#include <string>

#include "graph/op.h"

// What the losses over classes share.
namespace wick {

/// Throws DTypeError for anything but i32 and i64.
void require_targets(DType dtype);
/// Throws ArgumentError outside [0, 1].
void require_smoothing(double smoothing);

/// `total` divided by the number of targets that are not ignored (at least 1).
Tensor mean_over_counted(const Tensor& total, const Tensor& targets, std::int64_t ignore_index,
                         SourceLocation where);

/// Gradient of grad * cross_entropy_sum with respect to the logits; `attrs` are CrossEntropyAttrs.
Tensor cross_entropy_gradient(const Tensor& logits, const Tensor& targets, const Tensor& grad,
                              const Attrs& attrs);

std::string describe_cross_entropy(const Attrs& attrs);

}  // namespace wick
