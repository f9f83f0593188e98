#pragma once

#include <cstdint>

#include "backend/cuda/lora_numbers.cuh"
#include "backend/cuda/tensor_core.cuh"

// What the projection onto an adapter's factor and the gradient of one share: both read all activations once,
// and wait for memory more than for anything else. Each warp keeps some tiles of them on their way.
namespace wick::cuda::hopper {

/// A matrix of activations, row-major; rows are multiples of 8 elements.
struct Activations {
  __device__ Activations(const void* data, std::int64_t columns)
      : data(static_cast<const Bf16*>(data)), columns(columns), aligned(is_aligned(data)) {}
  const Bf16* data;
  std::int64_t columns;
  bool aligned;
};

/// 16 rows of 64 columns. The 16-byte pieces of a line are permuted, so that eight lines of a column of
/// pieces lie in different banks.
struct ActivationTile {
  static constexpr int rows = 16;
  static constexpr int columns = 64;

  /// A warp: starts to copy what lies from (row, column) on; zeros stand for rows from `end` on and columns
  /// that do not exist.
  __device__ void bring(const Activations& x, std::int64_t row, std::int64_t end, std::int64_t column) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const std::int64_t c = column + lane % 8 * 8;
#pragma unroll
    for (int i = 0; i < rows; i += 4) {
      const std::int64_t r = row + i + lane / 8;
      const bool inside = r < end && c < x.columns;
      const Bf16* const from = x.data + r * x.columns + c;
      if (x.aligned)
        copy_async(piece(i + lane / 8, lane % 8), from, inside);
      else
        copy(piece(i + lane / 8, lane % 8), from, inside);
    }
  }
  __device__ unsigned char* piece(int row, int i) { return data + row * 128 + ((i ^ row) & 7) * 16; }
  /// The piece whose address this lane gives to load four 8x8 matrices: two below each other, from the i-th
  /// column of pieces on.
  __device__ const unsigned char* matrix_row(int i) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    return piece(lane % 16, i + lane / 16);
  }

  unsigned char data[rows * columns * 2];

 private:
  __device__ static void copy(unsigned char* to, const Bf16* from, bool inside) {
    auto* const elements = reinterpret_cast<Bf16*>(to);
#pragma unroll
    for (int i = 0; i < 8; ++i) elements[i].bits = inside ? from[i].bits : 0;
  }
};

}  // namespace wick::cuda::hopper
