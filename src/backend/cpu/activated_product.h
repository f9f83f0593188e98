#pragma once

#include "backend/cpu/elementwise_program.h"
#include "backend/cpu/matrix_product.h"

namespace wick {

/// A product by oneDNN and one elementwise pass over its result, in place: for activations that oneDNN has
/// with other bits than the op. The result has the bits of the product and the ops one by one.
class ActivatedProduct final : public MatrixProduct {
 public:
  /// Nothing for products without an activation, of batches, with a result of another dtype or with gaps
  /// between its rows, or where oneDNN has no fast implementation on this processor.
  static std::unique_ptr<const MatrixProduct> make(const MatmulProblem& problem, DType dtype,
                                                   const ProductOptions& options);

  std::size_t scratch_bytes() const noexcept override { return product_->scratch_bytes(); }
  void run_combined(const void* a, const void* b, const void* bias, const void* combined, void* c,
                    void* scratch) const override;
  std::size_t packed_bytes() const noexcept override { return product_->packed_bytes(); }
  std::string format() const override { return product_->format(); }
  void pack(const void* b, void* packed) const override { product_->pack(b, packed); }

 private:
  ActivatedProduct(std::unique_ptr<const MatrixProduct> product, ElementwiseKernel pass)
      : product_(std::move(product)), pass_(std::move(pass)) {}

  std::unique_ptr<const MatrixProduct> product_;
  ElementwiseKernel pass_;
};

}  // namespace wick
