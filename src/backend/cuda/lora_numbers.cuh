#pragma once

#include <cstdint>

#include "backend/cuda/tensor_core.cuh"

namespace wick::cuda {

/// f32 numbers as the sum of two bf16 ones, so that products with bf16 numbers are nearly those of f32.
struct SplitPair {
  std::uint32_t high;
  std::uint32_t low;
  __device__ SplitPair(float first, float second) : high(pack<Bf16>(first, second)) {
    low = pack<Bf16>(first - __uint_as_float(high << 16), second - __uint_as_float(high & 0xffff0000u));
  }
};

__device__ inline bool is_aligned(const void* address) {
  return reinterpret_cast<std::uintptr_t>(address) % 16 == 0;
}

}  // namespace wick::cuda
