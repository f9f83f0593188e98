#pragma once

#include <cstddef>
#include <cstdint>

#include "backend/matmul_problem.h"
#include "ops/attributes.h"
#include "wick/dtype.h"

namespace wick::cuda {

/// c [batch, m, n] = a [batch, m, k] b [batch, k, n] + bias [n], c row-major, without gaps in a batch. Floats
/// only; a bias has the output's dtype.
struct LtProblem {
  std::int64_t m = 0;
  std::int64_t n = 0;
  std::int64_t k = 0;
  MatrixStrides a;
  MatrixStrides b;
  std::int64_t c_row = 0;  ///< elements from one row of c to the next; 0: they lie without gaps
  std::int64_t batch = 1;
  std::int64_t a_step = 0;  ///< elements from one a to the next
  std::int64_t b_step = 0;
  DType input = DType::f32;
  DType output = DType::f32;
  bool bias = false;
  bool accumulate = false;                   ///< adds what c holds
  bool adds = false;                         ///< adds another matrix like c
  Activation activation = Activation::none;  ///< of all that; none or gelu_tanh
  bool tf32 = false;                         ///< f32 operands may be rounded to TF32
  /// Bytes of workspace, at most: what NVIDIA recommends for Hopper.
  std::int64_t most_workspace = std::int64_t{32} << 20;

  /// The product of one pair of matrices of a problem, all of one dtype.
  static LtProblem of(const MatmulProblem& problem, DType dtype);
};

/// A matrix as cuBLASLt sees it, whose matrices are column-major: rows, columns and the distance of columns
/// as they lie, and whether the product takes it transposed.
struct LtMatrix {
  std::int64_t rows;
  std::int64_t columns;
  std::int64_t stride;
  bool transposed;

  /// [rows, columns] with these strides, as an operand of the transposed product c^T = b^T a^T.
  static LtMatrix of(std::int64_t rows, std::int64_t columns, MatrixStrides strides);
};

/// Products by cuBLASLt. The algorithm is the fastest of those that the library proposes, measured when a
/// problem is first run outside of a capture, and stays the same in a process; algorithms whose sums depend
/// on the order in which blocks finish are not used. Thread-safe.
class LtMatmul {
 public:
  explicit LtMatmul(const LtProblem& problem) : problem_(problem) {}

  std::size_t workspace_bytes() const;
  /// Launches the product; false when cuBLASLt has none for it (then nothing is launched). `added` is the
  /// other matrix, of problems that have one.
  bool run(const void* a, const void* b, const void* bias, void* c, void* workspace,
           const void* added = nullptr) const;
  /// Chooses the algorithm for these addresses, by measurement where that is possible; overwrites c.
  void choose(const void* a, const void* b, const void* bias, void* c, void* workspace) const;

 private:
  LtProblem problem_;
};

}  // namespace wick::cuda
