#pragma once

#include <cstddef>
#include <optional>

#include "backend/cuda/matmul_lt.h"
#include "backend/matmul_problem.h"

namespace wick::cuda {

/// a b + bias on the GPU, of one dtype and by whatever suits it: cuBLASLt, a kernel that reads the matrix
/// once for products with few vectors, or a plain one for integers and for what cuBLASLt refuses. Nothing is
/// empty. Thread-safe.
class Product {
 public:
  /// `bias`: the dtype of a bias [n], if there is one; it is rounded to the product's dtype. With
  /// `accumulate` the product is added to what the output holds.
  Product(const MatmulProblem& problem, DType dtype, std::optional<DType> bias = {}, bool accumulate = false);

  std::size_t scratch_bytes() const { return bias_bytes() + workspace_bytes_; }
  /// Launches on the current launch's stream; `bias` null without one.
  void run(const void* a, const void* b, const void* bias, void* output, void* scratch) const;
  /// Chooses what is chosen by measurement, which overwrites the output: before a run that adds to it.
  void choose(const void* a, const void* b, void* output, void* scratch) const;

 private:
  bool run_thin(const void* a, const void* b, const void* bias, void* output) const;
  bool run_library(const void* a, const void* b, const void* bias, void* output, void* workspace) const;
  void run_plain(const void* a, const void* b, const void* bias, void* output) const;
  std::size_t bias_bytes() const;
  LtProblem library_problem(bool bias) const;

  MatmulProblem problem_;
  DType dtype_;
  std::optional<DType> bias_;
  bool accumulate_;
  std::size_t outer_ = 0;  ///< so many of the batch dimensions are walked here, not by cuBLASLt
  std::optional<LtMatmul> library_;
  std::optional<LtMatmul> library_without_bias_;  ///< where cuBLASLt has no product with one
  std::size_t workspace_bytes_ = 0;
};

/// x [..., in] by the rows of weight [out, in].
MatmulProblem linear_problem(const Layout& x, const Layout& weight, const Shape& y);

}  // namespace wick::cuda
