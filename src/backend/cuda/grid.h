#pragma once

#include <algorithm>
#include <cstdint>

#include "backend/cuda/gpu.h"

namespace wick::cuda {

/// Blocks of a kernel that strides over `items`, one a thread: no more than keep the current GPU busy.
inline unsigned int blocks_for(std::int64_t items, int block_threads) {
  const std::int64_t wanted = (items + block_threads - 1) / block_threads;
  const std::int64_t most = std::int64_t{32} * multiprocessors();
  return static_cast<unsigned int>(std::clamp<std::int64_t>(wanted, 1, most));
}

}  // namespace wick::cuda
