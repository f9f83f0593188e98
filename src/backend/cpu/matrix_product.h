#pragma once

#include <memory>
#include <optional>
#include <string>

#include "backend/matmul_problem.h"
#include "ops/attributes.h"

namespace wick {

/// What a product does beyond c = a b.
struct ProductOptions {
  std::optional<DType> c = {};               ///< dtype of the result; that of the operands unless set
  std::int64_t c_row_stride = 0;             ///< of the result's rows, in elements; 0: they lie without gaps
  std::optional<DType> bias = {};            ///< dtype of a bias [n] that is added
  bool accumulate = false;                   ///< c += a b
  float scale = 1;                           ///< c = scale (a b)
  Activation activation = Activation::none;  ///< of what the above gives
  Combination combination = Combination::none;  ///< of that with a matrix that lies as c does
  bool packed = false;                          ///< b comes as `pack` writes it; not for batches
};

/// A matrix product made for one problem. `run` and `pack` are const and thread-safe.
class MatrixProduct {
 public:
  /// For f32 or bf16 operands, the fastest there is: nothing where neither AMX nor oneDNN has one on this
  /// processor. An f32 activation has the bits of the op.
  static std::unique_ptr<const MatrixProduct> make(const MatmulProblem& problem, DType dtype,
                                                   const ProductOptions& options = {});
  virtual ~MatrixProduct() = default;

  virtual std::size_t scratch_bytes() const noexcept = 0;
  /// `bias` and `combined` are null where the options have none.
  virtual void run_combined(const void* a, const void* b, const void* bias, const void* combined, void* c,
                            void* scratch) const = 0;
  void run(const void* a, const void* b, const void* bias, void* c, void* scratch) const {
    run_combined(a, b, bias, nullptr, c, scratch);
  }

  /// The layout that the processor's instructions want b in (for bf16 tiles of pairs of rows). It depends on
  /// k, n and the dtype, never on m, so that products of any number of rows share a packed b. `format` is
  /// equal where the layout and what is read to make it are.
  virtual std::size_t packed_bytes() const noexcept = 0;
  virtual std::string format() const = 0;
  virtual void pack(const void* b, void* packed) const = 0;
};

}  // namespace wick
