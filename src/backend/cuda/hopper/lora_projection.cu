#include <algorithm>

#include "backend/cuda/cluster.cuh"
#include "backend/cuda/device/launch_order.cuh"
#include "backend/cuda/gpu.h"
#include "backend/cuda/hopper/joined.cuh"
#include "backend/cuda/hopper/lora_kernels.h"
#include "backend/cuda/hopper/lora_tiles.cuh"

namespace wick::cuda::hopper {
namespace {

constexpr int warps = 8;
constexpr int threads = warps * 32;
constexpr int step_depth = ActivationTile::columns;

/// A block projects RowTiles * 16 rows of a member; its warps, and the blocks of a cluster, take turns at
/// steps of the depth.
template <int Tiles, int RowTiles>
struct ProjectionShape {
  static constexpr int ranks = Tiles * 8;
  static constexpr int rows = RowTiles * ActivationTile::rows;
  static constexpr int stages = RowTiles == 1 ? 4 : 3;
  static constexpr int steps_ahead = 2;   // of the factor, in registers
  static constexpr int line = ranks + 8;  // of sums; so that they lie in different banks
  static constexpr std::size_t shared_bytes = std::max(warps * stages * RowTiles * sizeof(ActivationTile),
                                                       (warps * rows * line + rows * ranks) * sizeof(float));
};

/// What a lane holds of the factor for a step: for each 16 of the depth and 8 ranks the numbers of one rank
/// at two neighbouring depths, and at those plus 8.
template <int Tiles>
class FactorPart {
 public:
  /// Of depths [depth, depth + 16).
  __device__ void read(const LoraProjection& p, std::int64_t depth, bool in_pairs) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
    for (int t = 0; t < Tiles; ++t)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int rank = t * 8 + lane / 4;
        const std::int64_t k = depth + half * 8 + lane % 4 * 2;
        const float* const from = p.a + rank * p.rank_step + k * p.depth_step;
        if (rank >= p.rank || k >= p.depth)
          pairs_[t][half] = make_float2(0, 0);
        else if (in_pairs)
          pairs_[t][half] = *reinterpret_cast<const float2*>(from);
        else
          pairs_[t][half] = make_float2(*from, from[p.depth_step]);
      }
  }
  template <int RowTiles>
  __device__ void multiply(SumTile (&sums)[RowTiles][Tiles], const LeftTile (&left)[RowTiles]) const {
#pragma unroll
    for (int t = 0; t < Tiles; ++t) {
      const SplitPair near(pairs_[t][0].x, pairs_[t][0].y);
      const SplitPair far(pairs_[t][1].x, pairs_[t][1].y);
#pragma unroll
      for (int i = 0; i < RowTiles; ++i) multiply_add<Bf16>(sums[i][t], left[i], {{near.high, far.high}});
#pragma unroll
      for (int i = 0; i < RowTiles; ++i) multiply_add<Bf16>(sums[i][t], left[i], {{near.low, far.low}});
    }
  }

 private:
  float2 pairs_[Tiles][2];
};

template <int Tiles, int RowTiles>
__global__ void __launch_bounds__(threads) project(const __grid_constant__ Joined<LoraProjection> joined) {
  begin_in_order();
  using Shape = ProjectionShape<Tiles, RowTiles>;
  constexpr int stages = Shape::stages;
  constexpr int parts = step_depth / 16;
  extern __shared__ __align__(128) unsigned char raw[];
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int blocks = cluster_blocks();
  const auto [member, cluster] = joined.here();
  const LoraProjection& p = joined.members[member];
  const std::int64_t first = std::int64_t{cluster} * Shape::rows;
  const std::int64_t stride = static_cast<std::int64_t>(blocks) * warps * step_depth;
  const std::int64_t begin = (cluster_rank() * warps + warp) * step_depth;
  const bool in_pairs = p.depth_step == 1 && reinterpret_cast<std::uintptr_t>(p.a) % 8 == 0;
  const Activations x(p.x, p.depth);
  auto* const ring = reinterpret_cast<ActivationTile(*)[RowTiles]>(raw) + warp * stages;
  const auto bring = [&](std::int64_t k, int stage) {
    if (k < p.depth)
#pragma unroll
      for (int i = 0; i < RowTiles; ++i) ring[stage][i].bring(x, first + i * ActivationTile::rows, p.rows, k);
    commit_copies();
  };

  SumTile sums[RowTiles][Tiles];
  FactorPart<Tiles> factor[Shape::steps_ahead][parts];
#pragma unroll
  for (int s = 0; s < stages - 1; ++s) bring(begin + s * stride, s);
#pragma unroll
  for (int s = 0; s < Shape::steps_ahead; ++s)
#pragma unroll
    for (int part = 0; part < parts; ++part)
      factor[s][part].read(p, begin + s * stride + part * 16, in_pairs);
  int stage = 0;
  for (std::int64_t several = begin; several < p.depth; several += Shape::steps_ahead * stride) {
#pragma unroll
    for (int s = 0; s < Shape::steps_ahead; ++s) {
      const std::int64_t k = several + s * stride;
      if (k >= p.depth) break;
      wait_copies<stages - 2>();
      __syncwarp();
      bring(k + (stages - 1) * stride, (stage + stages - 1) % stages);
#pragma unroll
      for (int part = 0; part < parts; ++part) {
        LeftTile left[RowTiles];
#pragma unroll
        for (int i = 0; i < RowTiles; ++i) load_matrices(left[i].x, ring[stage][i].matrix_row(part * 2));
        factor[s][part].multiply(sums, left);
        factor[s][part].read(p, k + Shape::steps_ahead * stride + part * 16, in_pairs);
      }
      stage = (stage + 1) % stages;
    }
  }

  __syncthreads();                                      // nobody reads tiles any more
  auto* const partial = reinterpret_cast<float*>(raw);  // [warps][rows][line]
  float* const total = partial + warps * Shape::rows * Shape::line;
  float* const own = partial + warp * Shape::rows * Shape::line;
#pragma unroll
  for (int i = 0; i < RowTiles; ++i)
#pragma unroll
    for (int t = 0; t < Tiles; ++t)
#pragma unroll
      for (int h = 0; h < 2; ++h)
        *reinterpret_cast<float2*>(own + (i * 16 + h * 8 + lane / 4) * Shape::line + t * 8 + lane % 4 * 2) =
            make_float2(sums[i][t].x[2 * h], sums[i][t].x[2 * h + 1]);
  __syncthreads();
  const auto write = [&](int i, float sum) {
    const std::int64_t row = first + i / Shape::ranks;
    const int rank = i % Shape::ranks;
    if (row < p.rows && rank < p.rank) p.out[row * p.rank + rank] = sum * p.scale;
  };
  for (int i = static_cast<int>(threadIdx.x); i < Shape::rows * Shape::ranks; i += threads) {
    const float* const from = partial + i / Shape::ranks * Shape::line + i % Shape::ranks;
    float sum = 0;
#pragma unroll
    for (int w = 0; w < warps; ++w) sum += from[w * Shape::rows * Shape::line];
    if (blocks == 1)
      write(i, sum);
    else
      total[i] = sum;
  }
  if (blocks > 1) sum_over_cluster(total, Shape::rows * Shape::ranks, write);
}

template <int Tiles, int RowTiles>
void launch(std::span<const LoraProjection> members, cudaStream_t stream) {
  using Shape = ProjectionShape<Tiles, RowTiles>;
  const Joined<LoraProjection> joined(members,
                                      [](const LoraProjection& p) { return parts(p.rows, Shape::rows); });
  std::int64_t steps = 0;
  for (const LoraProjection& p : members) steps = std::max(steps, parts(p.depth, step_depth));
  int cluster = 1;  // blocks, so that all work at once and every warp has a step
  while (cluster < most_cluster_blocks && joined.clusters() * cluster * 2 <= multiprocessors() &&
         cluster * warps < steps)
    cluster *= 2;
  launch_joined(project<Tiles, RowTiles>, joined, cluster, threads, Shape::shared_bytes, stream,
                "the projection of an adapter");
}

}  // namespace

void launch_lora_projections(std::span<const LoraProjection> members, cudaStream_t stream) {
  // Blocks of more rows read the factor less often, but there are fewer of them.
  constexpr std::int64_t few_rows = 1024;
  if (members[0].rows > few_rows)
    launch<2, 4>(members, stream);
  else if (members[0].rank <= 8)
    launch<1, 1>(members, stream);
  else
    launch<2, 1>(members, stream);
}

}  // namespace wick::cuda::hopper
