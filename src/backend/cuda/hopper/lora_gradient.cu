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
constexpr int unit_rows = warps * ActivationTile::rows;

/// 16 rows of x and of t; lines of t are padded, so that what a warp reads of it lies in different banks.
template <int RankTiles>
struct Stage {
  static constexpr int ranks = RankTiles * 16;
  static constexpr int line = ranks + 4;

  __device__ void bring(const LoraGradient& p, const Activations& activations, std::int64_t row,
                        std::int64_t end, std::int64_t column) {
    x.bring(activations, row, end, column);
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const bool in_fours = p.rank % 4 == 0 && is_aligned(p.t);
#pragma unroll
    for (int j = 0; j < RankTiles * 2; ++j) {
      const int i = j * 32 + lane;
      const int r = i / (ranks / 4);
      const int rank = i % (ranks / 4) * 4;
      const float* const from = p.t + (row + r) * p.rank + rank;
      const bool inside = row + r < end;
      if (in_fours)
        copy_async(t + r * line + rank, from, inside && rank < p.rank);
      else
#pragma unroll
        for (int k = 0; k < 4; ++k) t[r * line + rank + k] = inside && rank + k < p.rank ? from[k] : 0.0f;
    }
  }
  __device__ float at(int row, int rank) const { return t[row * line + rank]; }

  ActivationTile x;
  float t[ActivationTile::rows * line];
};

/// A block sums 64 columns for RankTiles * 16 ranks, and has a multiprocessor for itself.
template <int RankTiles>
struct GradientShape {
  static constexpr int columns = ActivationTile::columns;
  static constexpr int stages = 4;
  static constexpr std::size_t shared_bytes = sizeof(Stage<RankTiles>[warps][stages]);
};

/// A block sums columns of a member over its share of the rows, its warps taking turns at 16 rows; the blocks
/// of a cluster share the rows. The product is transposed, t^T x.
template <int RankTiles>
__global__ void __launch_bounds__(threads)
    sum_over_rows(const __grid_constant__ Joined<LoraGradient> joined, std::int64_t share) {
  begin_in_order();
  using Shape = GradientShape<RankTiles>;
  constexpr int columns = Shape::columns;
  constexpr int line = columns + 8;
  constexpr int count = Shape::stages;
  static_assert((warps * 16 * line + 16 * columns) * sizeof(float) <= Shape::shared_bytes);
  extern __shared__ __align__(128) unsigned char raw[];
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int group = lane / 4;
  const int pair = lane % 4 * 2;
  auto* const ring = reinterpret_cast<Stage<RankTiles>*>(raw) + warp * count;
  const auto [member, cluster] = joined.here();
  const LoraGradient& p = joined.members[member];
  const Activations x(p.x, p.columns);
  const std::int64_t first_column = std::int64_t{cluster} * columns;
  const std::int64_t begin = cluster_rank() * share;
  const std::int64_t end = begin + share < p.rows ? begin + share : p.rows;
  const auto bring = [&](std::int64_t row, int stage) {
    if (row < end) ring[stage].bring(p, x, row, end, first_column);
    commit_copies();
  };

  SumTile sums[RankTiles][columns / 8];
  const std::int64_t own = begin + warp * ActivationTile::rows;
#pragma unroll
  for (int s = 0; s < count - 1; ++s) bring(own + s * unit_rows, s);
  int stage = 0;
  for (std::int64_t row = own; row < end; row += unit_rows) {
    wait_copies<count - 2>();
    __syncwarp();
    bring(row + (count - 1) * unit_rows, (stage + count - 1) % count);
    Stage<RankTiles>& here = ring[stage];
    LeftTile high[RankTiles];
    LeftTile low[RankTiles];
#pragma unroll
    for (int rank = 0; rank < RankTiles; ++rank)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int r = i / 2 * 8 + pair;
        const int at = rank * 16 + i % 2 * 8 + group;
        const SplitPair both(here.at(r, at), here.at(r + 1, at));
        high[rank].x[i] = both.high;
        low[rank].x[i] = both.low;
      }
#pragma unroll
    for (int j = 0; j < columns / 8; j += 2) {
      std::uint32_t right[4];
      load_matrices_transposed(right, here.x.matrix_row(j));
#pragma unroll
      for (int rank = 0; rank < RankTiles; ++rank)
#pragma unroll
        for (int k = 0; k < 2; ++k) {
          multiply_add<Bf16>(sums[rank][j + k], high[rank], {{right[2 * k], right[2 * k + 1]}});
          multiply_add<Bf16>(sums[rank][j + k], low[rank], {{right[2 * k], right[2 * k + 1]}});
        }
    }
    stage = (stage + 1) % count;
  }

  auto* const partial = reinterpret_cast<float*>(raw);  // [warps][16][line]
  float* const total = partial + warps * 16 * line;
  const bool by_rank = p.rank_step == 1;
#pragma unroll
  for (int rank = 0; rank < RankTiles; ++rank) {
    __syncthreads();  // nobody reads stages, or sums of the ranks before, any more
#pragma unroll
    for (int j = 0; j < columns / 8; ++j)
#pragma unroll
      for (int h = 0; h < 2; ++h)
        *reinterpret_cast<float2*>(partial + (warp * 16 + h * 8 + group) * line + j * 8 + pair) =
            make_float2(sums[rank][j].x[2 * h], sums[rank][j].x[2 * h + 1]);
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < 16 * columns; i += threads) {
      const float* const from = partial + i / columns * line + i % columns;
      float sum = 0;
#pragma unroll
      for (int w = 0; w < warps; ++w) sum += from[w * 16 * line];
      // In the order of the result, so that neighbouring threads write neighbouring addresses.
      total[by_rank ? i % columns * 16 + i / columns : i] = sum;
    }
    sum_over_cluster(total, 16 * columns, [&](int i, float sum) {
      const int r = rank * 16 + (by_rank ? i % 16 : i / columns);
      const std::int64_t c = first_column + (by_rank ? i / 16 : i % columns);
      if (r < p.rank && c < p.columns) p.out[c * p.column_step + r * p.rank_step] = sum;
    });
  }
}

template <int RankTiles>
void launch(std::span<const LoraGradient> members, cudaStream_t stream) {
  using Shape = GradientShape<RankTiles>;
  const Joined<LoraGradient> joined(members,
                                    [](const LoraGradient& p) { return parts(p.columns, Shape::columns); });
  const std::int64_t units = parts(members[0].rows, unit_rows);
  std::int64_t units_each = units;
  std::int64_t cluster = 1;
  std::int64_t least = 0;
  for (std::int64_t c = 1; c <= std::min<std::int64_t>(units, most_cluster_blocks); ++c) {
    const std::int64_t each = parts(units, c);
    if (parts(units, each) != c) continue;  // some block would be left without rows
    const std::int64_t at_once =
        c == 1 ? multiprocessors()
               : most_clusters(sum_over_rows<RankTiles>, {static_cast<unsigned>(c), threads,
                                                          Shape::shared_bytes, static_cast<unsigned>(c)});
    if (at_once == 0) continue;
    // Beginning and ending, a block takes about as long as for so many units.
    constexpr std::int64_t more_units = 6;
    const std::int64_t time = parts(joined.clusters(), at_once) * (each + more_units);
    if (c > 1 && time >= least) continue;
    least = time;
    cluster = c;
    units_each = each;
  }
  launch_joined(sum_over_rows<RankTiles>, joined, cluster, threads, Shape::shared_bytes, stream,
                "the gradient of an adapter", units_each * unit_rows);
}

}  // namespace

void launch_lora_gradients(std::span<const LoraGradient> members, cudaStream_t stream) {
  const std::int64_t rank = members[0].rank;
  if (rank <= 16)
    launch_low_lora_gradients(members, stream);
  else if (rank <= 32)
    launch<2>(members, stream);
  else
    launch<4>(members, stream);
}

}  // namespace wick::cuda::hopper
