#pragma once

#include <cstdint>
#include <memory>

#include "wick/dtype.h"

// What the hardware reaches without an engine around it.
namespace wick::bench {

/// [m, k] x [k, n] by oneDNN, with the weights in the layout that oneDNN likes best, packed beforehand.
class PackedMatmul {
 public:
  /// f32 or bf16.
  PackedMatmul(std::int64_t m, std::int64_t k, std::int64_t n, DType dtype);
  ~PackedMatmul();
  PackedMatmul(const PackedMatmul&) = delete;
  PackedMatmul& operator=(const PackedMatmul&) = delete;
  void run();

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

/// memcpy, each thread its part.
void parallel_copy(void* to, const void* from, std::size_t bytes);
/// Reads every byte once, each thread its part; the result keeps the compiler from leaving it out.
std::uint64_t parallel_read(const void* from, std::size_t bytes);

}  // namespace wick::bench
