#pragma once

#include <initializer_list>
#include <span>
#include <vector>

#include "wick/tensor.h"

namespace wick {

// Reshape, transpose, slice and broadcast are views: they copy nothing where strides can say it.

/// Same elements in row-major order under another shape; one size may be -1. ShapeError when the counts
/// differ.
Tensor reshape(const Tensor& x, const std::vector<std::int64_t>& dims,
               SourceLocation where = SourceLocation::current());
Tensor reshape(const Tensor& x, const Shape& shape, SourceLocation where = SourceLocation::current());
inline Tensor reshape(const Tensor& x, std::initializer_list<std::int64_t> dims,
                      SourceLocation where = SourceLocation::current()) {
  return reshape(x, std::vector<std::int64_t>(dims), where);
}
/// Dimension i of the result is dimension permutation[i] of x.
Tensor permute(const Tensor& x, const std::vector<int>& permutation,
               SourceLocation where = SourceLocation::current());
/// Swaps two dimensions (by default the last two).
Tensor transpose(const Tensor& x, int axis1 = -2, int axis2 = -1,
                 SourceLocation where = SourceLocation::current());
/// Repeats dimensions of size 1 (and adds leading ones), NumPy's rule.
Tensor broadcast_to(const Tensor& x, const Shape& shape, SourceLocation where = SourceLocation::current());
/// Adds a dimension of size 1 before `axis` (negative: from the end of the result) / removes one of size 1.
Tensor expand_dims(const Tensor& x, int axis, SourceLocation where = SourceLocation::current());
Tensor squeeze(const Tensor& x, int axis, SourceLocation where = SourceLocation::current());
/// Elements start, start+step, ... before stop along `axis`. Negative start/stop count from the end and are
/// limited to the dimension as in Python; step must not be 0 (ArgumentError), a negative one walks backwards.
Tensor slice(const Tensor& x, int axis, std::int64_t start, std::int64_t stop, std::int64_t step = 1,
             SourceLocation where = SourceLocation::current());
/// x with the window that begins at `start` along `axis` replaced by `update` (same shape but for `axis`).
/// `start` is a rank-0 i64 or i32 tensor: data, not structure. It is limited so that the window lies within
/// x.
Tensor slice_update(const Tensor& x, const Tensor& update, const Tensor& start, int axis,
                    SourceLocation where = SourceLocation::current());
/// Joins along an existing axis; dtypes promote.
Tensor concat(std::span<const Tensor> parts, int axis, SourceLocation where = SourceLocation::current());
Tensor concat(const std::vector<Tensor>& parts, int axis, SourceLocation where = SourceLocation::current());
/// `low` and `high` copies of `value` before and after along `axis`.
Tensor pad(const Tensor& x, int axis, std::int64_t low, std::int64_t high, double value = 0,
           SourceLocation where = SourceLocation::current());
/// Same values; no gradient flows through.
Tensor stop_gradient(const Tensor& x, SourceLocation where = SourceLocation::current());

/// `shape` filled with `value`; 0; 1; and start, start+step, ... (`count` of them).
Tensor full(const Shape& shape, double value, DType dtype = DType::f32,
            SourceLocation where = SourceLocation::current());
Tensor zeros(const Shape& shape, DType dtype = DType::f32, SourceLocation where = SourceLocation::current());
Tensor ones(const Shape& shape, DType dtype = DType::f32, SourceLocation where = SourceLocation::current());
Tensor arange(std::int64_t count, DType dtype = DType::i64, double start = 0, double step = 1,
              SourceLocation where = SourceLocation::current());

}  // namespace wick
