#pragma once

#include <string_view>
#include <vector>

#include "ops/attributes.h"
#include "wick/tensor.h"

namespace wick {

/// Attributes for the axes that a caller names (none: all). Throws ShapeError for an axis out of range or
/// named twice.
ReduceAttrs reduce_attrs(std::string_view op, const Tensor& x, const std::vector<int>& axes, bool keep,
                         SourceLocation where);

/// The shape of a reduction's result, as `keep` says, and with the reduced axes kept in any case.
Shape reduced_shape(const Shape& shape, const ReduceAttrs& attrs);
Shape kept_shape(const Shape& shape, const ReduceAttrs& attrs);

/// The reduced axes as public functions take them. Not for tensors of rank 0, where none means all.
std::vector<int> axes_of(const ReduceAttrs& attrs);

/// How many elements go into one result.
std::int64_t reduced_count(const Shape& shape, const ReduceAttrs& attrs);

/// "axes (0, 2), kept"
std::string describe_reduction(const ReduceAttrs& attrs);

/// A result, or its gradient, stretched over the elements of x that it came from.
Tensor spread_reduced(const Tensor& reduced, const Shape& shape, const ReduceAttrs& attrs);

}  // namespace wick
