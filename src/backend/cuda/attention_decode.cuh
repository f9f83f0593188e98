#pragma once

#include <cmath>

#include "backend/cuda/attention.cuh"
#include "backend/cuda/tensor_core.cuh"

// Attention of up to 16 queries to many keys, for kernels that are bound by reading keys and values: these go
// from memory straight into the registers that the tensor cores take them from. Sums over d and over keys
// have no order of their own, so that each thread takes 16 bytes that lie together for what the instructions
// want from two or four places.
namespace wick::cuda {

inline constexpr int step_keys = 16;  // of a warp

__device__ inline std::uint32_t low_halves(std::uint32_t a, std::uint32_t b) {
  return __byte_perm(a, b, 0x5410);
}
__device__ inline std::uint32_t high_halves(std::uint32_t a, std::uint32_t b) {
  return __byte_perm(a, b, 0x7632);
}
__device__ inline uint4 load_if(bool inside, const void* from) {
  return inside ? *static_cast<const uint4*>(from) : make_uint4(0, 0, 0, 0);
}
__device__ inline std::uint32_t word(const uint4& x, int i) {
  return i == 0 ? x.x : i == 1 ? x.y : i == 2 ? x.z : x.w;
}

/// 16 keys and their values as the threads of a warp hold them.
template <int Width>
struct HeldKeys {
  static constexpr int pieces = Width / 32;  // of 32 elements of d
  static constexpr int halves = Width / 64;  // of 64
  uint4 keys[2][pieces];
  uint4 values[4][halves];

  /// key(j, column, held) and value(j, column, held) set 8 elements of key j, or leave them.
  template <typename Key, typename Value>
  __device__ void each(const Key& key, const Value& value) {
    const int group = static_cast<int>(threadIdx.x) % 32 / 4;
    const int quarter = static_cast<int>(threadIdx.x) % 4;
#pragma unroll
    for (int t = 0; t < 2; ++t)
#pragma unroll
      for (int c = 0; c < pieces; ++c) key(t * 8 + group, c * 32 + quarter * 8, keys[t][c]);
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int half = 0; half < halves; ++half)
        value(i / 2 * 8 + quarter * 2 + i % 2, half * 64 + group * 8, values[i][half]);
  }
};

/// What a warp has seen of the keys, for 8 `Groups` rows: thread 4 g + t holds what belongs to rows g and
/// g + 8. Scores are in units of log2.
template <typename T, int Width, int Groups>
struct WarpAttention {
  static constexpr int pieces = Width / 32;  // of 32 elements of d
  static constexpr int halves = Width / 64;  // of 64
  uint4 q[Groups][pieces];                   // of row g + 8 h, elements 32 c + 8 t and those behind
  SumTile out[halves][8];                    // column g of tile j is element 64 half + 8 g + j of d
  float largest[Groups];
  float total[Groups] = {};

  __device__ WarpAttention() {
#pragma unroll
    for (float& x : largest) x = -INFINITY;
  }

  /// The next 16 keys. score(h, j, product) gives the score of row g + 8 h and key j.
  template <typename Score>
  __device__ void see(const HeldKeys<Width>& held, const Score& score) {
    const int quarter = static_cast<int>(threadIdx.x) % 4;
    SumTile scores[2];
#pragma unroll
    for (int t = 0; t < 2; ++t)
#pragma unroll
      for (int c = 0; c < pieces; ++c) {
        const uint4& x = held.keys[t][c];
        const uint4 lower = Groups > 1 ? q[Groups - 1][c] : make_uint4(0, 0, 0, 0);
        multiply_add<T>(scores[t], {q[0][c].x, lower.x, q[0][c].y, lower.y}, {x.x, x.y});
        multiply_add<T>(scores[t], {q[0][c].z, lower.z, q[0][c].w, lower.w}, {x.z, x.w});
      }
#pragma unroll
    for (int t = 0; t < 2; ++t)
#pragma unroll
      for (int i = 0; i < 2 * Groups; ++i)
        scores[t].x[i] = score(i / 2, t * 8 + quarter * 2 + i % 2, scores[t].x[i]);
#pragma unroll
    for (int h = 0; h < Groups; ++h) {
      const float most = fmaxf(fmaxf(scores[0].x[2 * h], scores[0].x[2 * h + 1]),
                               fmaxf(scores[1].x[2 * h], scores[1].x[2 * h + 1]));
      const float before = largest[h];
      largest[h] = fmaxf(before, row_max(most));
      const float shift = largest[h] == -INFINITY ? 0.0f : largest[h];
      const float correction = exp2f(before - shift);
      float sum = 0;
#pragma unroll
      for (int t = 0; t < 2; ++t)
#pragma unroll
        for (int i = 2 * h; i < 2 * h + 2; ++i) {
          scores[t].x[i] = exp2f(scores[t].x[i] - shift);
          sum += scores[t].x[i];
        }
      total[h] = total[h] * correction + row_sum(sum);
#pragma unroll
      for (int half = 0; half < halves; ++half)
#pragma unroll
        for (int j = 0; j < 8; ++j) {
          out[half][j].x[2 * h] *= correction;
          out[half][j].x[2 * h + 1] *= correction;
        }
    }
    LeftTile weights{};
#pragma unroll
    for (int t = 0; t < 2; ++t)
#pragma unroll
      for (int h = 0; h < Groups; ++h)
        weights.x[2 * t + h] = pack<T>(scores[t].x[2 * h], scores[t].x[2 * h + 1]);
#pragma unroll
    for (int half = 0; half < halves; ++half)
#pragma unroll
      for (int j = 0; j < 8; j += 2) {
        std::uint32_t x[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) x[i] = word(held.values[i][half], j / 2);
        multiply_add<T>(out[half][j], weights, {low_halves(x[0], x[1]), low_halves(x[2], x[3])});
        multiply_add<T>(out[half][j + 1], weights, {high_halves(x[0], x[1]), high_halves(x[2], x[3])});
      }
  }
};

/// A part of a row's softmax: its largest score, the sum of the weights relative to it, and an element of the
/// weighted values.
struct RowPart {
  float largest;
  float total;
  float value;
};

/// The sum of parts [0, count) of `Most`, which are all read at once.
template <int Most, typename PartOf>
__device__ RowPart sum_of_parts(int count, const PartOf& part_of) {
  RowPart parts[Most];
#pragma unroll
  for (int i = 0; i < Most; ++i) parts[i] = part_of(i < count ? i : 0);
  RowPart sum{-INFINITY, 0, 0};
#pragma unroll
  for (int i = 0; i < Most; ++i) sum.largest = fmaxf(sum.largest, parts[i].largest);
  const float shift = sum.largest == -INFINITY ? 0.0f : sum.largest;
#pragma unroll
  for (int i = 0; i < Most; ++i) {
    const float factor = i < count ? exp2f(parts[i].largest - shift) : 0.0f;
    sum.total += parts[i].total * factor;
    sum.value += parts[i].value * factor;
  }
  return sum;
}

/// What the warps of a block leave for each other.
template <int Warps, int Width, int Groups>
struct WarpParts {
  static constexpr int rows = 8 * Groups;
  float largest[Warps][rows];
  float total[Warps][rows];
  float values[Warps][rows][Width + 1];

  template <typename T>
  __device__ void store(int warp, const WarpAttention<T, Width, Groups>& seen) {
    const int group = static_cast<int>(threadIdx.x) % 32 / 4;
    const int quarter = static_cast<int>(threadIdx.x) % 4;
#pragma unroll
    for (int h = 0; h < Groups; ++h) {
      if (quarter == 0) {
        largest[warp][group + 8 * h] = seen.largest[h];
        total[warp][group + 8 * h] = seen.total[h];
      }
#pragma unroll
      for (int half = 0; half < Width / 64; ++half)
#pragma unroll
        for (int j = 0; j < 8; ++j)
#pragma unroll
          for (int e = 0; e < 2; ++e)
            values[warp][group + 8 * h][half * 64 + (quarter * 2 + e) * 8 + j] =
                seen.out[half][j].x[2 * h + e];
    }
  }
  __device__ RowPart combined(int row, int column) const {
    return sum_of_parts<Warps>(Warps, [&](int w) -> RowPart {
      return {largest[w][row], total[w][row], values[w][row][column]};
    });
  }
};

}  // namespace wick::cuda
