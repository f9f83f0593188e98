#pragma once

#include "backend/cuda/attention.cuh"
#include "backend/cuda/cluster.cuh"
#include "backend/cuda/hopper/attention_tiles.cuh"

// Gradients of keys and values that the blocks of a cluster have parts of.
namespace wick::cuda::hopper {

/// Four numbers that another block holds in shared memory where this one has `own`, at a multiple of 16
/// bytes.
__device__ inline float4 read_pack_of_block(const float* own, int block) {
  float4 x;
  asm volatile(
      "{\n"
      ".reg .b32 remote;\n"
      "mapa.shared::cluster.u32 remote, %4, %5;\n"
      "ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [remote];\n"
      "}"
      : "=f"(x.x), "=f"(x.y), "=f"(x.z), "=f"(x.w)
      : "r"(shared_address(own)), "r"(block)
      : "memory");
  return x;
}

/// What a block leaves of the gradients of 64 keys and values for the others of its cluster.
template <int Width>
struct KeySums {
  static constexpr int pitch = Width + 8;  // rows that are written together lie in different banks
  float k[tile_rows][pitch];
  float v[tile_rows][pitch];
};

/// Writes the sums over the blocks of a cluster, four elements and those that they are rotated with at a
/// time.
template <int Width>
__device__ inline void write_cluster_sums(const AttentionGradientProblem& g, const KeySums<Width>& own,
                                          std::int64_t batch, std::int64_t head, std::int64_t first_key) {
  constexpr int width = 4;
  constexpr int half = Width / 2;
  constexpr int packs = half / width;
  sync_cluster();
  const int blocks = cluster_blocks();
  for (int i = cluster_rank() * group_threads + static_cast<int>(threadIdx.x); i < 2 * tile_rows * packs;
       i += blocks * group_threads) {
    const int column = i % packs * width;
    const int row = i / packs % tile_rows;
    const bool of_keys = i < tile_rows * packs;
    const std::int64_t key = first_key + row;
    if (key >= g.forward.n) continue;
    const float* const from = of_keys ? own.k[row] : own.v[row];
    float sums[2][width] = {};
    for (int block = 0; block < blocks; ++block)
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const float4 x = read_pack_of_block(from + h * half + column, block);
        sums[h][0] += x.x;
        sums[h][1] += x.y;
        sums[h][2] += x.z;
        sums[h][3] += x.w;
      }
    if (of_keys && g.cos.data) {
#pragma unroll
      for (int j = 0; j < width; ++j) rotate_back(g, batch, key, column + j, sums[0][j], sums[1][j]);
    }
    Bf16* const to = static_cast<Bf16*>(of_keys ? g.k_gradient : g.v_gradient) +
                     row_at(g.k_gradient_steps, batch, head, key) + column;
#pragma unroll
    for (int h = 0; h < 2; ++h)
      *reinterpret_cast<uint2*>(to + h * half) =
          make_uint2(pack<Bf16>(sums[h][0], sums[h][1]), pack<Bf16>(sums[h][2], sums[h][3]));
  }
  sync_cluster();  // nobody leaves while the others read
}

}  // namespace wick::cuda::hopper
