#pragma once

#include <memory>

#include "backend/matmul_problem.h"

namespace wick {

/// One product of a loop over parts of a large one, by oneDNN: c = a b, or c += a b, with f32 or bf16
/// operands and f32 c of contiguous rows. `run` is const and thread-safe.
class ChunkProduct {
 public:
  /// `problem` without batch. Null where oneDNN has no fast implementation on this processor.
  static std::unique_ptr<const ChunkProduct> make(const MatmulProblem& problem, DType operands, bool add);
  ~ChunkProduct();
  ChunkProduct(const ChunkProduct&) = delete;
  ChunkProduct& operator=(const ChunkProduct&) = delete;

  std::size_t scratch_bytes() const noexcept;
  void run(const void* a, const void* b, float* c, void* scratch) const;

 private:
  struct Parts;
  explicit ChunkProduct(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace wick
