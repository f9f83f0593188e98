#include "backend/cuda/matmul.h"

#include <gtest/gtest.h>

namespace wick::cuda {
namespace {

/// Where cuBLASLt finds element (row, column) of the transposed matrix that it takes as an operand.
std::int64_t place(const LtMatrix& matrix, std::int64_t row, std::int64_t column) {
  return matrix.transposed ? column + row * matrix.stride : row + column * matrix.stride;
}

TEST(LtMatrix, DescribesTheTransposedMatrixWhereItLies) {
  struct Case {
    std::int64_t rows, columns, row_stride, column_stride;
  };
  for (const Case& c :
       {Case{3, 5, 5, 1}, Case{3, 5, 8, 1}, Case{3, 5, 1, 3}, Case{3, 5, 1, 7}, Case{1, 5, 9, 1},
        Case{4, 1, 1, 6}, Case{4, 1, 3, 1}, Case{1, 1, 0, 0}, Case{1, 6, 2, 4}}) {
    const auto strides = MatrixStrides::of(c.rows, c.columns, c.row_stride, c.column_stride);
    const LtMatrix matrix = LtMatrix::of(c.rows, c.columns, strides);
    EXPECT_EQ(matrix.rows * matrix.columns, c.rows * c.columns);
    EXPECT_GE(matrix.stride, matrix.rows) << "columns must not overlap";
    for (std::int64_t i = 0; i < c.rows; ++i)
      for (std::int64_t j = 0; j < c.columns; ++j)
        EXPECT_EQ(place(matrix, j, i),
                  (c.rows == 1 ? 0 : i * c.row_stride) + (c.columns == 1 ? 0 : j * c.column_stride))
            << c.rows << "x" << c.columns << " at " << i << ", " << j;
  }
}

TEST(LinearProblem, IsAProductWithTheTransposedWeight) {
  const MatmulProblem p =
      linear_problem(Layout::contiguous({2, 3, 8}), Layout::contiguous({5, 8}), {2, 3, 5});
  EXPECT_EQ(p.m, 6) << "rows of all batches are rows of one matrix";
  EXPECT_EQ(p.n, 5);
  EXPECT_EQ(p.k, 8);
  EXPECT_TRUE(p.batch.empty());
  EXPECT_EQ(p.a, (MatrixStrides{8, 1}));
  EXPECT_EQ(p.b, (MatrixStrides{1, 8}));
}

TEST(LinearProblem, OfOneVectorHasOneRow) {
  const MatmulProblem p = linear_problem(Layout::contiguous({8}), Layout::contiguous({5, 8}), Shape{5});
  EXPECT_EQ(p.m, 1);
  EXPECT_EQ(p.n, 5);
  EXPECT_EQ(p.a, (MatrixStrides{8, 1}));
}

TEST(LinearProblem, OfRowsThatLieApartIsWalkedByBatches) {
  const Layout x{{2, 3, 8}, {100, 8, 1}};
  const Layout weight{{5, 8}, {1, 5}};
  const MatmulProblem p = linear_problem(x, weight, {2, 3, 5});
  EXPECT_EQ(p.m, 3);
  ASSERT_EQ(p.batch.size(), 1u);
  EXPECT_EQ(p.batch[0].a, 100);
  EXPECT_EQ(p.batch[0].b, 0);
  EXPECT_EQ(p.b, (MatrixStrides{5, 1}));
}

}  // namespace
}  // namespace wick::cuda
