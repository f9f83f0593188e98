#pragma once

#include <memory>
#include <optional>

#include "backend/matmul_problem.h"

namespace wick {

/// A matrix product by oneDNN, made for one problem. `run` is const and thread-safe.
class DnnlMatmul {
 public:
  /// For f32 or bf16 operands and result, with a bias [n] of `bias` dtype when there is one. Nothing where
  /// oneDNN has no fast implementation on this processor. `c_row_stride` is that of the result's rows.
  static std::unique_ptr<const DnnlMatmul> make(const MatmulProblem& problem, DType dtype,
                                                std::int64_t c_row_stride, std::optional<DType> bias = {});
  /// Whether `make` has something for this dtype on this processor.
  static bool available(DType dtype);
  ~DnnlMatmul();
  DnnlMatmul(const DnnlMatmul&) = delete;
  DnnlMatmul& operator=(const DnnlMatmul&) = delete;

  std::size_t scratch_bytes() const noexcept;
  void run(const void* a, const void* b, const void* bias, void* c, void* scratch) const;

 private:
  struct Parts;
  explicit DnnlMatmul(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace wick
