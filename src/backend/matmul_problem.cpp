#include "backend/matmul_problem.h"

#include <algorithm>

#include "wick/error.h"

namespace wick {

MatrixStrides MatrixStrides::of(std::int64_t rows, std::int64_t columns, std::int64_t row_stride,
                                std::int64_t column_stride) {
  const bool by_rows = (column_stride == 1 || columns == 1) && (row_stride >= columns || rows == 1);
  const bool by_columns = (row_stride == 1 || rows == 1) && (column_stride >= rows || columns == 1);
  if (by_rows) return {rows == 1 ? columns : row_stride, 1};
  if (by_columns) return {1, columns == 1 ? rows : column_stride};
  throw InternalError("a matmul got an operand that is neither row-major nor column-major");
}

MatmulProblem MatmulProblem::of(const Layout& a, const Layout& b, const Shape& c) {
  const int rank = c.rank();
  const int rank_a = a.shape.rank();
  const int rank_b = b.shape.rank();
  const auto stride = [](const Layout& layout, int axis) {
    return layout.strides[static_cast<std::size_t>(axis)];
  };
  MatmulProblem p;
  p.m = c[rank - 2];
  p.n = c[rank - 1];
  p.k = a.shape[rank_a - 1];
  if (c.elements() == 0 || p.k == 0) return p;
  p.a = MatrixStrides::of(p.m, p.k, stride(a, rank_a - 2), stride(a, rank_a - 1));
  p.b = MatrixStrides::of(p.k, p.n, stride(b, rank_b - 2), stride(b, rank_b - 1));

  const auto batch_stride = [&](const Layout& layout, int axis) -> std::int64_t {
    const int own = axis - (rank - layout.shape.rank());
    return own < 0 || layout.shape[own] == 1 ? 0 : stride(layout, own);
  };
  for (int axis = 0; axis < rank - 2; ++axis) {
    if (c[axis] == 1) continue;
    const Batch dim{c[axis], batch_stride(a, axis), batch_stride(b, axis)};
    if (!p.batch.empty()) {
      Batch& outer = p.batch[p.batch.size() - 1];
      if (outer.a == dim.a * dim.size && outer.b == dim.b * dim.size) {
        outer = {outer.size * dim.size, dim.a, dim.b};
        continue;
      }
    }
    p.batch.push_back(dim);
  }
  // One matrix b for all: the rows of every a, if they lie evenly, are the rows of one tall matrix.
  if (p.batch.size() == 1 && p.batch[0].b == 0 && p.a.column == 1 && p.batch[0].a == p.m * p.a.row) {
    p.m *= p.batch[0].size;
    p.batch = {};
  }
  return p;
}

std::int64_t MatmulProblem::batch_count() const {
  std::int64_t count = 1;
  for (const Batch& dim : batch) count *= dim.size;
  return count;
}

}  // namespace wick
