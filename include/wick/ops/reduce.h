#pragma once

#include <span>
#include <vector>

#include "wick/tensor.h"

namespace wick {

// Reductions over `axes` (negative count from the end; empty = all axes). Reduced axes are removed, or kept
// with size 1 when `keep` is set. bf16 and f16 accumulate in f32.

/// Sum; 0 over an empty axis. Keeps the dtype (bool and u8 give i64).
Tensor sum(const Tensor& x, const std::vector<int>& axes = {}, bool keep = false,
           SourceLocation where = SourceLocation::current());
/// Arithmetic mean; floating dtypes only (DTypeError). NaN over an empty axis.
Tensor mean(const Tensor& x, const std::vector<int>& axes = {}, bool keep = false,
            SourceLocation where = SourceLocation::current());
/// Largest / smallest; NaN if any is NaN. Throws ShapeError over an empty axis. The gradient of ties is
/// shared equally.
Tensor max(const Tensor& x, const std::vector<int>& axes = {}, bool keep = false,
           SourceLocation where = SourceLocation::current());
Tensor min(const Tensor& x, const std::vector<int>& axes = {}, bool keep = false,
           SourceLocation where = SourceLocation::current());
/// Index (i64) of the first largest / smallest element along one axis; NaN counts as largest / smallest.
Tensor argmax(const Tensor& x, int axis = -1, bool keep = false,
              SourceLocation where = SourceLocation::current());
Tensor argmin(const Tensor& x, int axis = -1, bool keep = false,
              SourceLocation where = SourceLocation::current());
/// The sum of the squares of all elements of all `tensors`, which are all f32 or all f64, as one number of
/// that dtype; added up in f64. Throws DTypeError for other dtypes, ArgumentError for no tensors.
Tensor sum_of_squares(std::span<const Tensor> tensors, SourceLocation where = SourceLocation::current());
/// log(sum(exp(x))), computed around the maximum.
Tensor logsumexp(const Tensor& x, const std::vector<int>& axes = {}, bool keep = false,
                 SourceLocation where = SourceLocation::current());
/// Running sum along one axis; keeps the dtype.
Tensor cumsum(const Tensor& x, int axis = -1, SourceLocation where = SourceLocation::current());

}  // namespace wick
