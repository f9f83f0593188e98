#include <algorithm>

#include "backend/cuda/cluster.cuh"
#include "backend/cuda/device/launch_order.cuh"
#include "backend/cuda/gpu.h"
#include "backend/cuda/hopper/lora_kernels.h"
#include "backend/cuda/launch_kernel.h"
#include "backend/cuda/lora_kernels.h"
#include "backend/cuda/lora_numbers.cuh"

namespace wick::cuda {
namespace {

/// Eight elements, zeros when not `inside`; at any address where that is not known to be `aligned`.
__device__ inline uint4 load_eight(const Bf16* from, bool inside, bool aligned) {
  if (!inside) return make_uint4(0, 0, 0, 0);
  if (aligned) return *reinterpret_cast<const uint4*>(from);
  const auto pair = [&](int i) { return from[i].bits | static_cast<std::uint32_t>(from[i + 1].bits) << 16; };
  return make_uint4(pair(0), pair(2), pair(4), pair(6));
}

constexpr int projection_warps = 8;

/// A block projects RowTiles * 16 rows over its share of the depth, its warps taking turns; the blocks of a
/// cluster share the depth. As in products with few vectors, each thread takes 8 elements that lie together
/// for the 2 x 4 that two instructions want.
template <int Tiles, int RowTiles>
__global__ void __launch_bounds__(projection_warps * 32, Tiles <= 2 ? 2 : 1) project(const LoraProjection p) {
  begin_in_order();
  constexpr int warps = projection_warps;
  constexpr int ranks = Tiles * 8;
  constexpr int row_count = RowTiles * 16;
  extern __shared__ float partial[];  // [warps][row_count][ranks + 1], then the block's [row_count][ranks]
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int group = lane / 4;
  const int place = lane % 4 * 8;
  const int blocks = cluster_blocks();
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) / blocks * row_count;
  const std::int64_t share = ((p.depth + 31) / 32 + blocks - 1) / blocks * 32;
  const std::int64_t begin = cluster_rank() * share;
  const std::int64_t end = begin + share < p.depth ? begin + share : p.depth;
  const auto* const x = static_cast<const Bf16*>(p.x);
  const bool aligned = is_aligned(x);

  SumTile sums[RowTiles][Tiles];
  for (std::int64_t k = begin + warp * 32; k < end; k += warps * 32) {
    const std::int64_t at = k + place;
    uint4 rows[RowTiles][2];
#pragma unroll
    for (int i = 0; i < RowTiles; ++i)
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const std::int64_t row = first + i * 16 + h * 8 + group;
        rows[i][h] = load_eight(x + row * p.depth + at, row < p.rows && at < p.depth, aligned);
      }
#pragma unroll
    for (int t = 0; t < Tiles; ++t) {
      const std::int64_t rank = t * 8 + group;
      const bool inside = rank < p.rank && at < p.depth;
      const float* const a = p.a + rank * p.rank_step + at * p.depth_step;
#pragma unroll
      for (int part = 0; part < 2; ++part) {
        const auto element = [&](int i) { return inside ? a[(part * 4 + i) * p.depth_step] : 0.0f; };
        const SplitPair low(element(0), element(1));
        const SplitPair high(element(2), element(3));
#pragma unroll
        for (int i = 0; i < RowTiles; ++i) {
          const uint4& u = rows[i][0];
          const uint4& l = rows[i][1];
          const LeftTile left = part == 0 ? LeftTile{{u.x, l.x, u.y, l.y}} : LeftTile{{u.z, l.z, u.w, l.w}};
          multiply_add<Bf16>(sums[i][t], left, {low.high, high.high});
          multiply_add<Bf16>(sums[i][t], left, {low.low, high.low});
        }
      }
    }
  }

  float* const own = partial + warp * (row_count * (ranks + 1));
#pragma unroll
  for (int i = 0; i < RowTiles; ++i)
#pragma unroll
    for (int t = 0; t < Tiles; ++t)
#pragma unroll
      for (int e = 0; e < 4; ++e)
        own[(i * 16 + e / 2 * 8 + group) * (ranks + 1) + t * 8 + lane % 4 * 2 + e % 2] = sums[i][t].x[e];
  __syncthreads();
  float* const total = partial + warps * row_count * (ranks + 1);
  for (int i = static_cast<int>(threadIdx.x); i < row_count * ranks; i += warps * 32) {
    const float* const from = partial + i / ranks * (ranks + 1) + i % ranks;
    float sum = 0;
    for (int w = 0; w < warps; ++w) sum += from[w * row_count * (ranks + 1)];
    total[i] = sum;
  }
  sum_over_cluster(total, row_count * ranks, [&](int i, float sum) {
    const std::int64_t row = first + i / ranks;
    const int rank = i % ranks;
    if (row < p.rows && rank < p.rank) p.out[row * p.rank + rank] = sum * p.scale;
  });
}

constexpr int expansion_warps = 4;
constexpr int expansion_rows = 64;

__device__ inline float bias_at(const LoraExpansion& p, std::int64_t column) {
  switch (p.bias_dtype) {
    case DType::bf16: return read(static_cast<const Bf16*>(p.bias)[column]);
    case DType::f16: return read(static_cast<const F16*>(p.bias)[column]);
    case DType::f64: return static_cast<float>(static_cast<const double*>(p.bias)[column]);
    default: return static_cast<const float*>(p.bias)[column];
  }
}

/// A warp makes Groups * 32 columns of 64 rows. Column c of tile j of a group is column (c / 2) 8 + j 2 + c %
/// 2 of the 32, so that a thread's sums of the four tiles are 8 columns that lie together.
template <int Parts, int Groups>
__global__ void __launch_bounds__(expansion_warps * 32) expand(const LoraExpansion p) {
  begin_in_order();
  constexpr int block_columns = expansion_warps * Groups * 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int group = lane / 4;
  const int pair = lane % 4 * 2;
  const std::int64_t blocks = (p.columns + block_columns - 1) / block_columns;
  const std::int64_t first_row = blockIdx.x / blocks * expansion_rows;
  const std::int64_t first_column =
      blockIdx.x % blocks * block_columns + static_cast<int>(threadIdx.x) / 32 * (Groups * 32);
  const auto t_at = [&](std::int64_t row, int i) {
    return row < p.rows && i < p.rank ? p.t[row * p.rank + i] : 0.0f;
  };
  const auto b_at = [&](std::int64_t column, int i) {
    return column < p.columns && i < p.rank ? p.b[column * p.column_step + i * p.rank_step] : 0.0f;
  };

  RightTile b[Groups][Parts][4];
  float bias[Groups][8] = {};
#pragma unroll
  for (int g = 0; g < Groups; ++g) {
#pragma unroll
    for (int part = 0; part < Parts; ++part)
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const std::int64_t column = first_column + g * 32 + group / 2 * 8 + j * 2 + group % 2;
        const int i = part * 16 + pair;
        b[g][part][j] = {{pack<Bf16>(b_at(column, i), b_at(column, i + 1)),
                          pack<Bf16>(b_at(column, i + 8), b_at(column, i + 9))}};
      }
    const std::int64_t column = first_column + g * 32 + lane % 4 * 8;
    if (!p.bias || column >= p.columns) continue;
#pragma unroll
    for (int i = 0; i < 8; ++i) bias[g][i] = bias_at(p, column + i);
  }

  for (std::int64_t tile = first_row; tile < first_row + expansion_rows && tile < p.rows; tile += 16) {
    const std::int64_t row = tile + group;
    LeftTile t[Parts];
#pragma unroll
    for (int part = 0; part < Parts; ++part) {
      const int i = part * 16 + pair;
      t[part] = {{pack<Bf16>(t_at(row, i), t_at(row, i + 1)),
                  pack<Bf16>(t_at(row + 8, i), t_at(row + 8, i + 1)),
                  pack<Bf16>(t_at(row, i + 8), t_at(row, i + 9)),
                  pack<Bf16>(t_at(row + 8, i + 8), t_at(row + 8, i + 9))}};
    }
#pragma unroll
    for (int g = 0; g < Groups; ++g) {
      SumTile sums[4];
#pragma unroll
      for (int part = 0; part < Parts; ++part)
#pragma unroll
        for (int j = 0; j < 4; ++j) multiply_add<Bf16>(sums[j], t[part], b[g][part][j]);
      const std::int64_t column = first_column + g * 32 + lane % 4 * 8;
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        if (column >= p.columns || row + 8 * h >= p.rows) continue;
        auto* const to =
            reinterpret_cast<uint4*>(static_cast<Bf16*>(p.out) + (row + 8 * h) * p.columns + column);
        const uint4 before = p.accumulate ? *to : make_uint4(0, 0, 0, 0);
        const std::uint32_t held[4] = {before.x, before.y, before.z, before.w};
        std::uint32_t words[4];
#pragma unroll
        for (int j = 0; j < 4; ++j)
          words[j] =
              pack<Bf16>(sums[j].x[2 * h] + bias[g][2 * j] + __uint_as_float(held[j] << 16),
                         sums[j].x[2 * h + 1] + bias[g][2 * j + 1] + __uint_as_float(held[j] & 0xffff0000u));
        *to = make_uint4(words[0], words[1], words[2], words[3]);
      }
    }
  }
}

template <int Parts, int Groups>
void launch_expand(const LoraExpansion& p, cudaStream_t stream) {
  constexpr int columns = expansion_warps * Groups * 32;
  const std::int64_t blocks =
      ((p.columns + columns - 1) / columns) * ((p.rows + expansion_rows - 1) / expansion_rows);
  launch_kernel(expand<Parts, Groups>, {static_cast<unsigned>(blocks), expansion_warps * 32}, stream,
                "the expansion of an adapter", p);
}

constexpr int gradient_warps = 8;
constexpr int gradient_columns = 64;

/// A block sums 64 columns over its split of the rows, its warps taking turns at 16 rows; the blocks of a
/// cluster sum as many splits. The product is transposed, t^T x: x is the right operand, in whose column c of
/// tile j a thread finds the column 8 c + j of the 64 among the 16 bytes that it reads of each row.
template <int RankTiles>
__global__ void __launch_bounds__(gradient_warps * 32)
    sum_over_rows(const LoraGradient p, std::int64_t splits, float* to) {
  begin_in_order();
  extern __shared__ float partial[];  // [gradient_warps][16][gradient_columns + 1], then the block's
  constexpr int line = gradient_columns + 1;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int group = lane / 4;
  const int pair = lane % 4 * 2;
  const std::int64_t split = blockIdx.x % splits;
  const std::int64_t first_column = blockIdx.x / splits * gradient_columns;
  const std::int64_t share = (p.rows + splits - 1) / splits;
  const std::int64_t begin = split * share;
  const std::int64_t end = begin + share < p.rows ? begin + share : p.rows;
  const auto* const x = static_cast<const Bf16*>(p.x);
  const bool aligned = is_aligned(x);
  const std::int64_t column = first_column + group * 8;
  const auto t_at = [&](std::int64_t row, int i) {
    return row < end && i < p.rank ? p.t[row * p.rank + i] : 0.0f;
  };

  SumTile sums[RankTiles][8];
  for (std::int64_t row = begin + warp * 16; row < end; row += gradient_warps * 16) {
    std::uint32_t words[4][4];  // of rows pair, pair + 1 and those plus 8
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const std::int64_t r = row + i / 2 * 8 + pair + i % 2;
      const uint4 eight = load_eight(x + r * p.columns + column, r < end && column < p.columns, aligned);
      words[i][0] = eight.x;
      words[i][1] = eight.y;
      words[i][2] = eight.z;
      words[i][3] = eight.w;
    }
#pragma unroll
    for (int rank = 0; rank < RankTiles; ++rank) {
      LeftTile high;
      LeftTile low;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const std::int64_t r = row + i / 2 * 8 + pair;
        const int at = rank * 16 + i % 2 * 8 + group;
        const SplitPair both(t_at(r, at), t_at(r + 1, at));
        high.x[i] = both.high;
        low.x[i] = both.low;
      }
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        const unsigned halves = j % 2 == 0 ? 0x5410 : 0x7632;
        const RightTile right{{__byte_perm(words[0][j / 2], words[1][j / 2], halves),
                               __byte_perm(words[2][j / 2], words[3][j / 2], halves)}};
        multiply_add<Bf16>(sums[rank][j], high, right);
        multiply_add<Bf16>(sums[rank][j], low, right);
      }
    }
  }

  to += split / cluster_blocks() * p.columns * p.rank;
  float* const total = partial + gradient_warps * 16 * line;
#pragma unroll
  for (int rank = 0; rank < RankTiles; ++rank) {
#pragma unroll
    for (int j = 0; j < 8; ++j)
#pragma unroll
      for (int e = 0; e < 4; ++e)
        partial[(warp * 16 + e / 2 * 8 + group) * line + (pair + e % 2) * 8 + j] = sums[rank][j].x[e];
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < 16 * gradient_columns; i += gradient_warps * 32) {
      const float* const from = partial + i / gradient_columns * line + i % gradient_columns;
      float sum = 0;
      for (int w = 0; w < gradient_warps; ++w) sum += from[w * 16 * line];
      // In the order of the result, so that neighbouring threads write neighbouring addresses.
      total[p.rank_step == 1 ? i % gradient_columns * 16 + i / gradient_columns : i] = sum;
    }
    sum_over_cluster(total, 16 * gradient_columns, [&](int i, float sum) {
      const bool by_rank = p.rank_step == 1;
      const int r = rank * 16 + (by_rank ? i % 16 : i / gradient_columns);
      const std::int64_t c = first_column + (by_rank ? i / 16 : i % gradient_columns);
      if (r < p.rank && c < p.columns) to[c * p.column_step + r * p.rank_step] = sum;
    });
  }
}

__global__ void sum_splits(const float* partial, float* out, std::int64_t count, std::int64_t splits) {
  begin_in_order();
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= count) return;
  float sum = 0;
  for (std::int64_t s = 0; s < splits; ++s) sum += partial[s * count + i];
  out[i] = sum;
}

/// Blocks of a cluster that share work of `units`, each of which is enough for a block, for a grid of about
/// `enough` blocks where there would be `blocks` of them.
int cluster_for(std::int64_t blocks, std::int64_t enough, std::int64_t units) {
  if (!runs_code_for_90()) return 1;
  int cluster = 1;
  while (cluster < most_cluster_blocks && blocks * cluster < enough && cluster < units) cluster *= 2;
  return cluster;
}

template <int Tiles, int RowTiles>
void launch_project(const LoraProjection& p, cudaStream_t stream) {
  constexpr int rows = RowTiles * 16;
  constexpr int floats = rows * (projection_warps * (Tiles * 8 + 1) + Tiles * 8);
  constexpr std::int64_t enough_blocks = 256;
  const std::int64_t blocks = (p.rows + rows - 1) / rows;
  const int cluster = cluster_for(blocks, enough_blocks, (p.depth + 127) / 128);
  launch_kernel(project<Tiles, RowTiles>,
                {.blocks = static_cast<unsigned>(blocks * cluster),
                 .threads = projection_warps * 32,
                 .shared = floats * sizeof(float),
                 .cluster = static_cast<unsigned>(cluster)},
                stream, "the projection of an adapter", p);
}

void launch_lora_projection(const LoraProjection& p, cudaStream_t stream) {
  const bool many = p.rows > 1024;  // then blocks of more rows, which read a less often, are enough
  if (p.rank <= 8)
    many ? launch_project<1, 2>(p, stream) : launch_project<1, 1>(p, stream);
  else if (p.rank <= 16)
    many ? launch_project<2, 2>(p, stream) : launch_project<2, 1>(p, stream);
  else if (p.rank <= 32)
    many ? launch_project<4, 2>(p, stream) : launch_project<4, 1>(p, stream);
  else
    launch_project<8, 1>(p, stream);
}

}  // namespace

bool joins_lora_projections(std::int64_t rank) {
  return compute_capability() == 90 && rank <= hopper::most_projection_rank;
}

void launch_lora_projections(std::span<const LoraProjection> members, cudaStream_t stream) {
  if (joins_lora_projections(members[0].rank)) return hopper::launch_lora_projections(members, stream);
  for (const LoraProjection& p : members) launch_lora_projection(p, stream);
}

void launch_lora_expansion(const LoraExpansion& p, cudaStream_t stream) {
  constexpr std::int64_t many = std::int64_t{1} << 22;  // elements, of which larger pieces are enough
  const bool large = p.rows * p.columns >= many;
  if (p.rank <= 16)
    large ? launch_expand<1, 4>(p, stream) : launch_expand<1, 1>(p, stream);
  else if (p.rank <= 32)
    large ? launch_expand<2, 4>(p, stream) : launch_expand<2, 1>(p, stream);
  else
    launch_expand<4, 1>(p, stream);
}

namespace {

/// Splits of the rows: those that a cluster sums, and clusters.
struct GradientSplits {
  explicit GradientSplits(const LoraGradient& p) {
    constexpr std::int64_t enough_blocks = 1024;
    constexpr std::int64_t least_rows = 256;
    const std::int64_t blocks = (p.columns + gradient_columns - 1) / gradient_columns;
    const std::int64_t most = (p.rows + least_rows - 1) / least_rows;
    cluster = cluster_for(blocks, enough_blocks, most);
    if (cluster == 1) parts = std::clamp<std::int64_t>((enough_blocks + blocks - 1) / blocks, 1, most);
  }
  int cluster = 1;
  std::int64_t parts = 1;
};

void launch_lora_gradient(const LoraGradient& p, cudaStream_t stream) {
  const GradientSplits splits(p);
  const std::int64_t blocks = (p.columns + gradient_columns - 1) / gradient_columns;
  constexpr int floats = 16 * (gradient_warps * (gradient_columns + 1) + gradient_columns);
  const auto kernel = p.rank <= 16 ? sum_over_rows<1> : p.rank <= 32 ? sum_over_rows<2> : sum_over_rows<4>;
  const std::int64_t each = splits.parts * splits.cluster;
  launch_kernel(kernel,
                {.blocks = static_cast<unsigned>(blocks * each),
                 .threads = gradient_warps * 32,
                 .shared = floats * sizeof(float),
                 .cluster = static_cast<unsigned>(splits.cluster)},
                stream, "the gradient of an adapter", p, each, splits.parts > 1 ? p.partial : p.out);
  if (splits.parts == 1) return;
  const std::int64_t count = p.columns * p.rank;
  launch_kernel(sum_splits, {static_cast<unsigned>((count + 255) / 256), 256}, stream,
                "the gradient of an adapter", p.partial, p.out, count, splits.parts);
}

}  // namespace

std::int64_t lora_gradient_parts(const LoraGradient& p) { return GradientSplits(p).parts; }

bool joins_lora_gradients() { return compute_capability() == 90; }

void launch_lora_gradients(std::span<const LoraGradient> members, cudaStream_t stream) {
  if (joins_lora_gradients()) return hopper::launch_lora_gradients(members, stream);
  for (const LoraGradient& p : members) launch_lora_gradient(p, stream);
}

}  // namespace wick::cuda
