#pragma once

#include <cstdint>

#include "backend/cuda/tensor_core.cuh"

// Tiles of rows of 16-bit floats in shared memory, and the products with them.
namespace wick::cuda {

/// A pair of 16-bit floats.
template <typename T>
__device__ inline float2 unpack(std::uint32_t pair) {
  const auto low = static_cast<std::uint16_t>(pair);
  const auto high = static_cast<std::uint16_t>(pair >> 16);
  return {read(T{low}), read(T{high})};
}

/// Rows of Width elements, with a gap behind each so that neighbours lie in other banks.
template <int Rows, int Width>
struct SharedTile {
  static constexpr int rows = Rows;
  static constexpr int width = Width;
  static constexpr int stride = Width + 8;
  std::uint16_t elements[Rows * stride];

  /// Starts the copy of rows [first, end) of d elements, a multiple of 8; the rest becomes zeros.
  template <int threads, typename T>
  __device__ void copy(const T* from, std::int64_t step, std::int64_t first, std::int64_t end,
                       std::int64_t d) {
    constexpr int pieces = Width / 8;
#pragma unroll
    for (int i = static_cast<int>(threadIdx.x); i < Rows * pieces; i += threads) {
      const int row = i / pieces;
      const int column = i % pieces * 8;
      const bool inside = first + row < end && column < d;
      copy_async(elements + row * stride + column, inside ? from + (first + row) * step + column : from,
                 inside);
    }
  }
  __device__ const std::uint16_t* at(int row, int column) const { return elements + row * stride + column; }
};

/// Rows `row` and `row` + 8 of 16 rows as left operands; what lies behind row `end` or column d is zero.
template <typename T, int Parts>
__device__ void load_left(LeftTile (&to)[Parts], const T* from, std::int64_t step, std::int64_t row,
                          std::int64_t end, std::int64_t d) {
  const int pair = static_cast<int>(threadIdx.x) % 4 * 2;
#pragma unroll
  for (int c = 0; c < Parts; ++c)
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const std::int64_t r = row + i % 2 * 8;
      const int column = c * 16 + i / 2 * 8 + pair;
      to[c].x[i] =
          r < end && column < d ? *reinterpret_cast<const std::uint32_t*>(from + r * step + column) : 0;
    }
}

/// sums [16, rows] += left [16, width] times the tile's rows [rows, width], transposed.
template <typename T, int Sums, int Parts, typename Tile>
__device__ void multiply_by_rows(SumTile (&sums)[Sums], const LeftTile (&left)[Parts], const Tile& tile) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int c = 0; c < Parts; ++c)
#pragma unroll
    for (int t = 0; t < Sums; t += 2) {
      std::uint32_t x[4];
      load_matrices(x, tile.at(t * 8 + lane / 16 * 8 + lane % 8, c * 16 + lane / 8 % 2 * 8));
      multiply_add<T>(sums[t], left[c], {x[0], x[1]});
      multiply_add<T>(sums[t + 1], left[c], {x[2], x[3]});
    }
}

/// The same with 16 rows of another tile, from `row` on, as the left operand.
template <typename T, int Sums, typename Left, typename Tile>
__device__ void multiply_by_rows(SumTile (&sums)[Sums], const Left& left, int row, const Tile& tile) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int c = 0; c < Tile::width / 16; ++c) {
    LeftTile part;
    load_matrices(part.x, left.at(row + lane % 16, c * 16 + lane / 16 * 8));
#pragma unroll
    for (int t = 0; t < Sums; t += 2) {
      std::uint32_t x[4];
      load_matrices(x, tile.at(t * 8 + lane / 16 * 8 + lane % 8, c * 16 + lane / 8 % 2 * 8));
      multiply_add<T>(sums[t], part, {x[0], x[1]});
      multiply_add<T>(sums[t + 1], part, {x[2], x[3]});
    }
  }
}

/// sums [16, width] += left [16, 16] times rows [row, row + 16) of the tile.
template <typename T, int Sums, typename Tile>
__device__ void multiply_by_columns(SumTile (&sums)[Sums], const LeftTile& left, const Tile& tile, int row) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int t = 0; t < Sums; t += 2) {
    std::uint32_t x[4];
    load_matrices_transposed(x, tile.at(row + lane / 8 % 2 * 8 + lane % 8, t * 8 + lane / 16 * 8));
    multiply_add<T>(sums[t], left, {x[0], x[1]});
    multiply_add<T>(sums[t + 1], left, {x[2], x[3]});
  }
}

/// Two neighbouring sums as one left operand.
template <typename T>
__device__ LeftTile left_of(const SumTile& a, const SumTile& b) {
  return {
      {pack<T>(a.x[0], a.x[1]), pack<T>(a.x[2], a.x[3]), pack<T>(b.x[0], b.x[1]), pack<T>(b.x[2], b.x[3])}};
}

/// This thread's part of a row of d elements, times `scale`: the upper row of the sums (h 0) or the lower
/// one.
template <typename T, int Sums>
__device__ void store_row(T* row, const SumTile (&sums)[Sums], int h, float scale, int pair, std::int64_t d) {
#pragma unroll
  for (int t = 0; t < Sums; ++t)
    if (t * 8 + pair < d)
      *reinterpret_cast<std::uint32_t*>(row + t * 8 + pair) =
          pack<T>(sums[t].x[2 * h] * scale, sums[t].x[2 * h + 1] * scale);
}

/// The same in f32.
template <int Sums>
__device__ void store_row(float* row, const SumTile (&sums)[Sums], int h, float scale, int pair,
                          std::int64_t d) {
#pragma unroll
  for (int t = 0; t < Sums; ++t)
    if (t * 8 + pair < d)
      *reinterpret_cast<float2*>(row + t * 8 + pair) =
          make_float2(sums[t].x[2 * h] * scale, sums[t].x[2 * h + 1] * scale);
}

}  // namespace wick::cuda
