#pragma once

#include <algorithm>
#include <cstdint>

#include "backend/cuda/device/numbers.cuh"

// Kernels that give a block to each row of a row-major matrix: the row in registers, or read as often as
// needed.
namespace wick::cuda {

/// Two sums that are made on one way through a block.
struct Sums {
  float first;
  float second;

  __device__ Sums operator+(const Sums& other) const { return {first + other.first, second + other.second}; }
};

/// The value of the lane whose number differs by the bit `apart`.
template <typename T>
__device__ T across(T value, int apart) {
  return __shfl_xor_sync(~0u, value, apart);
}
__device__ inline Sums across(Sums value, int apart) {
  return {across(value.first, apart), across(value.second, apart)};
}

/// The same value for all threads of a block of whole warps, combined in an order that only their number
/// decides.
template <typename T, typename F>
__device__ T block_combined(T value, const F& combine) {
  __shared__ T of_warps[32];
#pragma unroll
  for (int apart = 16; apart > 0; apart /= 2) value = combine(value, across(value, apart));
  if (blockDim.x == 32) return value;
  __syncthreads();  // what an earlier call left may still be read
  if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = value;
  __syncthreads();
  value = of_warps[0];
  for (unsigned int warp = 1; warp < blockDim.x / 32; ++warp) value = combine(value, of_warps[warp]);
  return value;
}
template <typename T>
__device__ T block_sum(T value) {
  return block_combined(value, [](T a, T b) { return a + b; });
}
/// NaN is ignored.
__device__ inline float block_max(float value) {
  return block_combined(value, [](float a, float b) { return fmaxf(a, b); });
}

/// exp, to f32's accuracy where the result is f32; 16-bit floats need less, and no numbers below 2^-126.
template <typename T>
__device__ __forceinline__ float exp_for(float x) {
  if constexpr (sizeof(T) == 2) {
    constexpr float log2_of_e = 1.44269504f;
    float power;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x * log2_of_e));
    return power;
  } else {
    return expf(x);
  }
}

inline constexpr int most_row_threads = 1024;
template <typename T>
inline constexpr int row_width = 16 / sizeof(T);

/// A row of n elements, a multiple of row_width, at an aligned address, that a block holds in registers: so
/// many packs of row_width a thread.
template <typename T, int packs>
class HeldRow {
 public:
  static constexpr int width = row_width<T>;
  static constexpr std::int64_t of_thread = packs * width;

  __device__ HeldRow(const T* x, int n) : n_(n) {
#pragma unroll
    for (int p = 0; p < packs; ++p)
      if (place(p) < n_) packs_[p] = load_pack<width>(x + place(p));
#pragma unroll
    for (int p = 0; p < packs; ++p)
#pragma unroll
      for (int j = 0; j < width; ++j) values_[p][j] = read(packs_[p].at[j]);
  }

  /// f(value) for each element of this thread; what f writes to the value stays for later calls.
  template <typename F>
  __device__ void each(const F& f) {
#pragma unroll
    for (int p = 0; p < packs; ++p) {
      if (place(p) >= n_) continue;
#pragma unroll
      for (int j = 0; j < width; ++j) f(values_[p][j]);
    }
  }

  /// out[place] = f(value)
  template <typename To, typename F>
  __device__ void write(To* out, const F& f) {
#pragma unroll
    for (int p = 0; p < packs; ++p) {
      if (place(p) >= n_) continue;
      Pack<To, width> made;
#pragma unroll
      for (int j = 0; j < width; ++j) made.at[j] = written<To>(f(values_[p][j]));
      store_pack(out + place(p), made);
    }
  }

 private:
  __device__ int place(int p) const {
    return (p * static_cast<int>(blockDim.x) + static_cast<int>(threadIdx.x)) * width;
  }

  int n_;
  Pack<T, width> packs_[packs] = {};
  float values_[packs][width];
};

template <typename T>
using RegisterRow = HeldRow<T, 4>;

/// Any row, read again by each call.
template <typename T>
class MemoryRow {
 public:
  __device__ MemoryRow(const T* x, int n) : x_(x), n_(n) {}

  template <typename F>
  __device__ void each(const F& f) {
    for (int i = static_cast<int>(threadIdx.x); i < n_; i += static_cast<int>(blockDim.x)) {
      float value = read(x_[i]);
      f(value);
    }
  }
  template <typename To, typename F>
  __device__ void write(To* out, const F& f) {
    for (int i = static_cast<int>(threadIdx.x); i < n_; i += static_cast<int>(blockDim.x))
      out[i] = written<To>(f(read(x_[i])));
  }

 private:
  const T* x_;
  int n_;
};

/// How rows of n elements are given to blocks: in registers where they fit in so many threads.
struct RowLaunch {
  bool in_registers;
  unsigned int threads;
  unsigned int blocks;

  template <typename Row>
  static RowLaunch of(std::int64_t rows, std::int64_t n, bool aligned, int most_threads = most_row_threads) {
    const auto warps_for = [most_threads](std::int64_t items) {
      return static_cast<unsigned int>(std::clamp<std::int64_t>((items + 31) / 32 * 32, 32, most_threads));
    };
    const auto blocks = static_cast<unsigned int>(std::min<std::int64_t>(rows, 1 << 30));
    if (aligned && n % Row::width == 0 && n <= most_threads * Row::of_thread)
      return {true, warps_for((n + Row::of_thread - 1) / Row::of_thread), blocks};
    return {false, warps_for((n + 3) / 4), blocks};
  }
};

inline bool is_aligned_16(const void* address) { return reinterpret_cast<std::uintptr_t>(address) % 16 == 0; }

}  // namespace wick::cuda
