#include <algorithm>
#include <type_traits>
#include <vector>

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

/// A member, or two that have their activations in common.
struct Projections : LoraProjection {
  const float* second_a = nullptr;  ///< null: there is no second
  float* second_out = nullptr;
  int depth_warps = warps;  ///< of a block that share the depth; the others take further rows
};

/// Warps project RowTiles * 16 rows onto Factors of Tiles * 8 ranks. They and the blocks of a cluster take
/// turns at steps of the depth: all warps of a block, or if it is `Grouped` so many as have a step.
template <int Tiles, int Factors, int RowTiles, bool Grouped>
struct ProjectionShape {
  /// No more parameters than the kernel needs.
  using Problem = std::conditional_t<Factors == 1 && !Grouped, LoraProjection, Projections>;
  static constexpr int factor_ranks = Tiles * 8;
  static constexpr int ranks = Factors * factor_ranks;
  static constexpr int rows = RowTiles * ActivationTile::rows;
  static constexpr int most_groups = Grouped ? 4 : 1;  // of more, one block would have many sums to write
  static constexpr int stages = RowTiles == 1 ? 4 : 3;
  static constexpr int steps_ahead = Factors == 1 ? 2 : 1;  // of the factors, in registers
  static constexpr int line = ranks + 8;                    // of sums; so that they lie in different banks
  static constexpr std::size_t shared_bytes =
      std::max(warps * stages * RowTiles * sizeof(ActivationTile),
               (warps * rows * line + most_groups * rows * ranks) * sizeof(float));
};

/// What a lane holds of the factors for a step: for each 16 of the depth and 8 ranks the numbers of one rank
/// at two neighbouring depths, and at those plus 8.
template <int Tiles, int Factors>
class FactorPart {
 public:
  /// Of depths [depth, depth + 16).
  __device__ void read(const LoraProjection& p, const float* second_a, std::int64_t depth, bool in_pairs) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
    for (int t = 0; t < Tiles * Factors; ++t)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int rank = t % Tiles * 8 + lane / 4;
        const std::int64_t k = depth + half * 8 + lane % 4 * 2;
        const float* const a = t < Tiles ? p.a : second_a;
        const float* const from = a + rank * p.rank_step + k * p.depth_step;
        if ((t >= Tiles && !a) || rank >= p.rank || k >= p.depth)
          pairs_[t][half] = make_float2(0, 0);
        else if (in_pairs)
          pairs_[t][half] = *reinterpret_cast<const float2*>(from);
        else
          pairs_[t][half] = make_float2(*from, from[p.depth_step]);
      }
  }
  template <int RowTiles>
  __device__ void multiply(SumTile (&sums)[RowTiles][Tiles * Factors],
                           const LeftTile (&left)[RowTiles]) const {
#pragma unroll
    for (int t = 0; t < Tiles * Factors; ++t) {
      const SplitPair near(pairs_[t][0].x, pairs_[t][0].y);
      const SplitPair far(pairs_[t][1].x, pairs_[t][1].y);
#pragma unroll
      for (int i = 0; i < RowTiles; ++i) multiply_add<Bf16>(sums[i][t], left[i], {{near.high, far.high}});
#pragma unroll
      for (int i = 0; i < RowTiles; ++i) multiply_add<Bf16>(sums[i][t], left[i], {{near.low, far.low}});
    }
  }

 private:
  float2 pairs_[Tiles * Factors][2];
};

template <int Tiles, int Factors, int RowTiles, bool Grouped>
__global__ void __launch_bounds__(threads) project(
    const __grid_constant__ Joined<typename ProjectionShape<Tiles, Factors, RowTiles, Grouped>::Problem>
        joined) {
  begin_in_order();
  using Shape = ProjectionShape<Tiles, Factors, RowTiles, Grouped>;
  constexpr int stages = Shape::stages;
  constexpr int parts = step_depth / 16;
  extern __shared__ __align__(128) unsigned char raw[];
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int blocks = cluster_blocks();
  const auto [member, cluster] = joined.here();
  const auto& p = joined.members[member];
  const float* second_a = nullptr;
  float* second_out = nullptr;
  int depth_warps = warps;
  int group = 0;
  if constexpr (Factors == 2) {
    second_a = p.second_a;
    second_out = p.second_out;
  }
  if constexpr (Grouped) {
    depth_warps = p.depth_warps;
    group = warp / depth_warps;
  }
  const int block_rows = warps / depth_warps * Shape::rows;
  const std::int64_t first_of_block = std::int64_t{cluster} * block_rows;
  const std::int64_t first = first_of_block + group * Shape::rows;
  const std::int64_t stride = static_cast<std::int64_t>(blocks) * depth_warps * step_depth;
  const std::int64_t begin = (cluster_rank() * depth_warps + warp - group * depth_warps) * step_depth;
  const auto by_pairs = [](const float* a) { return reinterpret_cast<std::uintptr_t>(a) % 8 == 0; };
  const bool in_pairs = p.depth_step == 1 && by_pairs(p.a) && (Factors == 1 || by_pairs(second_a));
  const Activations x(p.x, p.depth);
  auto* const ring = reinterpret_cast<ActivationTile(*)[RowTiles]>(raw) + warp * stages;
  const auto bring = [&](std::int64_t k, int stage) {
    if (k < p.depth)
#pragma unroll
      for (int i = 0; i < RowTiles; ++i) ring[stage][i].bring(x, first + i * ActivationTile::rows, p.rows, k);
    commit_copies();
  };

  SumTile sums[RowTiles][Tiles * Factors];
  FactorPart<Tiles, Factors> factor[Shape::steps_ahead][parts];
#pragma unroll
  for (int s = 0; s < stages - 1; ++s) bring(begin + s * stride, s);
#pragma unroll
  for (int s = 0; s < Shape::steps_ahead; ++s)
#pragma unroll
    for (int part = 0; part < parts; ++part)
      factor[s][part].read(p, second_a, begin + s * stride + part * 16, in_pairs);
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
        factor[s][part].read(p, second_a, k + Shape::steps_ahead * stride + part * 16, in_pairs);
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
    for (int t = 0; t < Tiles * Factors; ++t)
#pragma unroll
      for (int h = 0; h < 2; ++h)
        *reinterpret_cast<float2*>(own + (i * 16 + h * 8 + lane / 4) * Shape::line + t * 8 + lane % 4 * 2) =
            make_float2(sums[i][t].x[2 * h], sums[i][t].x[2 * h + 1]);
  __syncthreads();
  const auto write = [&](int i, float sum) {
    const std::int64_t row = first_of_block + i / Shape::ranks;
    const int rank = i % Shape::factor_ranks;
    float* const out = i % Shape::ranks < Shape::factor_ranks ? p.out : second_out;
    if (row < p.rows && rank < p.rank && (Factors == 1 || out)) out[row * p.rank + rank] = sum * p.scale;
  };
  for (int i = static_cast<int>(threadIdx.x); i < block_rows * Shape::ranks; i += threads) {
    const int row = i / Shape::ranks;
    const int first_line = row / Shape::rows * depth_warps * Shape::rows + row % Shape::rows;
    const float* const from = partial + first_line * Shape::line + i % Shape::ranks;
    float sum = 0;
#pragma unroll
    for (int w = 0; w < warps; ++w)
      if (w < depth_warps) sum += from[w * Shape::rows * Shape::line];
    if (blocks == 1)
      write(i, sum);
    else
      total[i] = sum;
  }
  if (blocks > 1) sum_over_cluster(total, block_rows * Shape::ranks, write);
}

template <int Tiles, int Factors, int RowTiles, bool Grouped = false>
void launch(std::span<const typename ProjectionShape<Tiles, Factors, RowTiles, Grouped>::Problem> problems,
            cudaStream_t stream) {
  using Shape = ProjectionShape<Tiles, Factors, RowTiles, Grouped>;
  using Problem = typename Shape::Problem;
  const Joined<Problem> joined(problems, [](const Problem& p) {
    int groups = 1;
    if constexpr (Grouped) groups = warps / p.depth_warps;
    return parts(p.rows, groups * Shape::rows);
  });
  std::int64_t steps = 0;
  for (const Problem& p : problems) steps = std::max(steps, parts(p.depth, step_depth));
  int cluster = 1;  // blocks, so that all work at once and every warp has a step
  while (cluster < most_cluster_blocks && joined.clusters() * cluster * 2 <= multiprocessors() &&
         cluster * warps < steps)
    cluster *= 2;
  launch_joined(project<Tiles, Factors, RowTiles, Grouped>, joined, cluster, threads, Shape::shared_bytes,
                stream, "the projection of an adapter");
}

/// Pairs of members with the same activations, as long as there would be more problems than `most`: two
/// factors take a block longer than one.
std::vector<Projections> pair(std::span<const LoraProjection> members, std::int64_t most) {
  std::vector<Projections> problems;
  std::int64_t count = std::ssize(members);
  for (const LoraProjection& m : members) {
    const auto other = std::ranges::find_if(
        problems, [&](const Projections& p) { return p.x == m.x && p.depth == m.depth && !p.second_a; });
    if (count <= most || other == problems.end()) {
      problems.push_back({m});
    } else {
      other->second_a = m.a;
      other->second_out = m.out;
      --count;
    }
  }
  return problems;
}

void launch_many_rows(std::span<const LoraProjection> members, cudaStream_t stream) {
  using Shape = ProjectionShape<2, 1, 4, true>;
  // A second round of blocks takes as long as the first.
  const std::int64_t most = multiprocessors() / parts(members[0].rows, Shape::rows);
  if (std::ssize(members) <= most) return launch<2, 1, 4>(members, stream);
  std::vector<Projections> problems = pair(members, most);
  if (std::ssize(problems) < std::ssize(members)) return launch<2, 2, 4>(problems, stream);
  bool grouped = false;
  for (Projections& p : problems)
    while (warps / p.depth_warps < Shape::most_groups && p.depth_warps / 2 >= parts(p.depth, step_depth)) {
      p.depth_warps /= 2;
      grouped = true;
    }
  grouped ? launch<2, 1, 4, true>(problems, stream) : launch<2, 1, 4>(members, stream);
}

}  // namespace

void launch_lora_projections(std::span<const LoraProjection> members, cudaStream_t stream) {
  // Blocks of more rows read the factor less often, but there are fewer of them.
  constexpr std::int64_t few_rows = 1024;
  if (members[0].rows > few_rows) return launch_many_rows(members, stream);
  members[0].rank <= 8 ? launch<1, 1, 1>(members, stream) : launch<2, 1, 1>(members, stream);
}

}  // namespace wick::cuda::hopper
