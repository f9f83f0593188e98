#pragma once

#include <memory>
#include <optional>
#include <string>

#include "backend/matmul_problem.h"

namespace wick {

/// What a product does beyond c = a b.
struct ProductOptions {
  std::optional<DType> c = {};     ///< dtype of the result; that of the operands unless set
  std::int64_t c_row_stride = 0;   ///< of the result's rows, in elements; 0: they lie without gaps
  std::optional<DType> bias = {};  ///< dtype of a bias [n] that is added
  bool accumulate = false;         ///< c += a b
  float scale = 1;                 ///< c = scale (a b)
  bool packed = false;             ///< b comes as `pack` writes it; not for batches
};

/// A matrix product by oneDNN, made for one problem. `run` and `pack` are const and thread-safe.
class DnnlMatmul {
 public:
  /// For f32 or bf16 operands. Nothing where oneDNN has no fast implementation on this processor.
  static std::unique_ptr<const DnnlMatmul> make(const MatmulProblem& problem, DType dtype,
                                                const ProductOptions& options = {});
  /// Whether `make` has something for this dtype on this processor.
  static bool available(DType dtype);
  ~DnnlMatmul();
  DnnlMatmul(const DnnlMatmul&) = delete;
  DnnlMatmul& operator=(const DnnlMatmul&) = delete;

  std::size_t scratch_bytes() const noexcept;
  /// `bias` is null where the options have none.
  void run(const void* a, const void* b, const void* bias, void* c, void* scratch) const;

  /// The layout that the processor's instructions want b in (for bf16 tiles of pairs of rows). It depends on
  /// k, n and the dtype, never on m, so that products of any number of rows share a packed b. `format` is
  /// equal where the layout and what is read to make it are.
  std::size_t packed_bytes() const noexcept;
  std::string format() const;
  void pack(const void* b, void* packed) const;

 private:
  struct Parts;
  explicit DnnlMatmul(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace wick
