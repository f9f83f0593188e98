#pragma once

#include "backend/cpu/matrix_product.h"

namespace wick {

/// A matrix product by oneDNN, made for one problem. `run` and `pack` are const and thread-safe.
class DnnlMatmul final : public MatrixProduct {
 public:
  /// For f32 or bf16 operands. Nothing where oneDNN has no fast implementation on this processor, and for
  /// activations other than gelu, gelu_tanh and silu of bf16.
  static std::unique_ptr<const MatrixProduct> make(const MatmulProblem& problem, DType dtype,
                                                   const ProductOptions& options = {});
  /// Whether `make` has something for this dtype on this processor.
  static bool available(DType dtype);
  ~DnnlMatmul() override;
  DnnlMatmul(const DnnlMatmul&) = delete;
  DnnlMatmul& operator=(const DnnlMatmul&) = delete;

  std::size_t scratch_bytes() const noexcept override;
  void run_combined(const void* a, const void* b, const void* bias, const void* combined, void* c,
                    void* scratch) const override;
  std::size_t packed_bytes() const noexcept override;
  std::string format() const override;
  void pack(const void* b, void* packed) const override;

 private:
  struct Parts;
  explicit DnnlMatmul(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace wick
