#pragma once

#include <utility>

#include "wick/tensor.h"

namespace wick {

// Indices are i32 or i64; negative ones count from the end. An index out of range throws ArgumentError when
// the op is evaluated, with the op's location.

/// Slices of x along `axis` at `indices`: result shape = x.shape[:axis] + indices.shape + x.shape[axis+1:].
Tensor take(const Tensor& x, const Tensor& indices, int axis = 0,
            SourceLocation where = SourceLocation::current());
/// Rows of a table [vocabulary, dim] at ids [...] -> [..., dim].
Tensor embedding(const Tensor& table, const Tensor& ids, SourceLocation where = SourceLocation::current());
/// NumPy's take_along_axis: result[..., i, ...] = x[..., indices[..., i, ...], ...]; ranks equal, the other
/// dimensions equal.
Tensor take_along_axis(const Tensor& x, const Tensor& indices, int axis,
                       SourceLocation where = SourceLocation::current());
/// x with updates added at `indices` along axis 0: indices [n], updates [n, x.shape[1:]...]. Repeats
/// accumulate, in the order of the indices.
Tensor index_add(const Tensor& x, const Tensor& indices, const Tensor& updates,
                 SourceLocation where = SourceLocation::current());
/// x with x[..., indices[..., i, ...], ...] += updates[..., i, ...] along `axis`; shapes as take_along_axis.
Tensor scatter_add(const Tensor& x, const Tensor& indices, const Tensor& updates, int axis,
                   SourceLocation where = SourceLocation::current());
/// Likewise, but sets; of repeated indices the last one wins.
Tensor scatter(const Tensor& x, const Tensor& indices, const Tensor& updates, int axis,
               SourceLocation where = SourceLocation::current());

/// Indices (i64) that sort x along `axis`; stable; NaN sorts last (ascending) or first (descending).
Tensor argsort(const Tensor& x, int axis = -1, bool descending = false,
               SourceLocation where = SourceLocation::current());
Tensor sort(const Tensor& x, int axis = -1, bool descending = false,
            SourceLocation where = SourceLocation::current());
/// The k largest along `axis`, largest first: {values, indices (i64)}. ArgumentError when k is out of range.
std::pair<Tensor, Tensor> topk(const Tensor& x, std::int64_t k, int axis = -1,
                               SourceLocation where = SourceLocation::current());
/// [...] -> [..., classes]: 1 at the index, else 0 (also everywhere for an index out of range).
Tensor one_hot(const Tensor& indices, std::int64_t classes, DType dtype = DType::f32,
               SourceLocation where = SourceLocation::current());

}  // namespace wick
