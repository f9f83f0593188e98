#pragma once

#include "backend/backend.h"
#include "core/small_vector.h"

namespace wick {

/// Strides of one matrix, in elements. One of them is 1 (also where the matrix has one row or column), the
/// other at least the extent beside it.
struct MatrixStrides {
  std::int64_t row = 1;
  std::int64_t column = 1;

  /// From a layout that InputLayouts::matrix admits.
  static MatrixStrides of(std::int64_t rows, std::int64_t columns, std::int64_t row_stride,
                          std::int64_t column_stride);
  friend bool operator==(const MatrixStrides&, const MatrixStrides&) = default;
};

/// c [batch, m, n] = a [batch, m, k] b [batch, k, n] with c contiguous. Batch dimensions that can be walked
/// as one are one; a stride of 0 repeats a matrix.
struct MatmulProblem {
  struct Batch {
    std::int64_t size;
    std::int64_t a;  ///< stride
    std::int64_t b;
  };

  std::int64_t m = 0;
  std::int64_t n = 0;
  std::int64_t k = 0;
  MatrixStrides a;
  MatrixStrides b;
  SmallVector<Batch, 2> batch;  ///< outermost first

  static MatmulProblem of(const Layout& a, const Layout& b, const Shape& c);
  std::int64_t batch_count() const;
};

/// Walks some batch dimensions in row-major order: f(index, offset into a, offset into b).
template <typename F>
void for_each_batch(std::span<const MatmulProblem::Batch> batch, const F& f) {
  std::int64_t count = 1;
  for (const auto& dim : batch) count *= dim.size;
  for (std::int64_t i = 0; i < count; ++i) {
    std::int64_t a = 0;
    std::int64_t b = 0;
    std::int64_t rest = i;
    for (std::size_t d = batch.size(); d-- > 0;) {
      a += rest % batch[d].size * batch[d].a;
      b += rest % batch[d].size * batch[d].b;
      rest /= batch[d].size;
    }
    f(i, a, b);
  }
}

}  // namespace wick
