#pragma once

#include <cstdint>

#include "backend/cuda/tensor_core.cuh"

namespace wick::cuda {

__device__ inline bool is_aligned(const void* address) {
  return reinterpret_cast<std::uintptr_t>(address) % 16 == 0;
}

}  // namespace wick::cuda
