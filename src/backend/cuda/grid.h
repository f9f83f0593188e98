#pragma once

#include <algorithm>
#include <cstdint>

#include "backend/cuda/gpu.h"

namespace wick::cuda {

/// Blocks of a kernel with a thread for each of `items`.
inline unsigned int blocks_for_all(std::int64_t items, int block_threads) {
  constexpr std::int64_t most = 0x7FFFFFFF;  // that a grid takes
  return static_cast<unsigned int>(
      std::clamp<std::int64_t>((items + block_threads - 1) / block_threads, 1, most));
}

/// Blocks of a kernel that strides over `items`, one a thread: no more than keep the current GPU busy.
inline unsigned int blocks_for(std::int64_t items, int block_threads) {
  const std::int64_t most = std::int64_t{32} * multiprocessors();
  return static_cast<unsigned int>(std::min<std::int64_t>(blocks_for_all(items, block_threads), most));
}

}  // namespace wick::cuda
