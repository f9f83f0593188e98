#pragma once

#include <cstdint>

#include "wick/dtype.h"

namespace wick {

/// Lines of memory, `step` bytes apart, that are needed soon.
struct AmxPrefetch {
  const void* first = nullptr;
  std::int64_t step = 0;
  std::int64_t lines = 0;
};

/// A product of bf16 matrices with sums in f32, c[m, n] (+)= a[m, k] b[k, n]. b lies in pairs of rows,
/// [k / 2, n, 2], as the instruction takes it.
struct AmxProduct {
  std::int64_t m;  ///< a multiple of `amx_step`, like n and k
  std::int64_t n;
  std::int64_t k;
  std::int64_t a_row;  ///< elements from row to row, like b_row (from pair to pair) and c_row
  std::int64_t b_row;
  std::int64_t c_row;
  bool accumulate = false;
  AmxPrefetch next = {};  ///< brought to the second-level cache meanwhile
  AmxPrefetch then = {};
};
inline constexpr std::int64_t amx_step = 32;
inline std::int64_t amx_padded(std::int64_t count) { return (count + amx_step - 1) / amx_step * amx_step; }

/// The tile registers of the calling thread (Intel AMX), set up for AmxProduct while this lives.
class AmxTiles {
 public:
  /// Whether the processor multiplies bf16 tiles and the system lets this process do so.
  static bool available();

  /// Only where available.
  AmxTiles();
  ~AmxTiles();
  AmxTiles(const AmxTiles&) = delete;
  AmxTiles& operator=(const AmxTiles&) = delete;

  void run(const AmxProduct& product, const bfloat16* a, const bfloat16* b, float* c) const;
};

}  // namespace wick
