#include <algorithm>

#include "backend/cuda/check.h"
#include "backend/cuda/lora_kernels.h"
#include "backend/cuda/tensor_core.cuh"

namespace wick::cuda {
namespace {

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

/// Eight elements, zeros when not `inside`; at any address where that is not known to be `aligned`.
__device__ inline uint4 load_eight(const Bf16* from, bool inside, bool aligned) {
  if (!inside) return make_uint4(0, 0, 0, 0);
  if (aligned) return *reinterpret_cast<const uint4*>(from);
  const auto pair = [&](int i) { return from[i].bits | static_cast<std::uint32_t>(from[i + 1].bits) << 16; };
  return make_uint4(pair(0), pair(2), pair(4), pair(6));
}

/// A block projects RowTiles * 16 rows, its warps taking turns along the depth. As in products with few
/// vectors, each thread takes 8 elements that lie together for the 2 x 4 that two instructions want.
template <int Tiles, int RowTiles, int warps>
__global__ void __launch_bounds__(warps * 32) project(const LoraProjection p) {
  constexpr int ranks = Tiles * 8;
  extern __shared__ float partial[];  // [warps][RowTiles * 16][ranks + 1]
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int group = lane / 4;
  const int place = lane % 4 * 8;
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * (RowTiles * 16);
  const auto* const x = static_cast<const Bf16*>(p.x);
  const bool aligned = is_aligned(x);

  SumTile sums[RowTiles][Tiles];
  for (std::int64_t k = warp * 32; k < p.depth; k += warps * 32) {
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

  float* const own = partial + warp * (RowTiles * 16 * (ranks + 1));
#pragma unroll
  for (int i = 0; i < RowTiles; ++i)
#pragma unroll
    for (int t = 0; t < Tiles; ++t)
#pragma unroll
      for (int e = 0; e < 4; ++e)
        own[(i * 16 + e / 2 * 8 + group) * (ranks + 1) + t * 8 + lane % 4 * 2 + e % 2] = sums[i][t].x[e];
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < RowTiles * 16 * ranks; i += warps * 32) {
    const int row = i / ranks;
    const int rank = i % ranks;
    if (first + row >= p.rows || rank >= p.rank) continue;
    float sum = 0;
    for (int w = 0; w < warps; ++w) sum += partial[(w * RowTiles * 16 + row) * (ranks + 1) + rank];
    p.out[(first + row) * p.rank + rank] = sum * p.scale;
  }
}

constexpr int expansion_warps = 4;
constexpr int expansion_rows = 64;
constexpr int expansion_columns = expansion_warps * 32;

__device__ inline float bias_at(const LoraExpansion& p, std::int64_t column) {
  switch (p.bias_dtype) {
    case DType::bf16: return read(static_cast<const Bf16*>(p.bias)[column]);
    case DType::f16: return read(static_cast<const F16*>(p.bias)[column]);
    case DType::f64: return static_cast<float>(static_cast<const double*>(p.bias)[column]);
    default: return static_cast<const float*>(p.bias)[column];
  }
}

/// A warp makes 32 columns of 64 rows. Column c of tile j is column (c / 2) 8 + j 2 + c % 2 of the 32, so
/// that a thread's sums of the four tiles are 8 columns that lie together.
template <int Parts>
__global__ void __launch_bounds__(expansion_warps * 32) expand(const LoraExpansion p) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int group = lane / 4;
  const int pair = lane % 4 * 2;
  const std::int64_t blocks = (p.columns + expansion_columns - 1) / expansion_columns;
  const std::int64_t first_row = blockIdx.x / blocks * expansion_rows;
  const std::int64_t first_column =
      blockIdx.x % blocks * expansion_columns + static_cast<int>(threadIdx.x) / 32 * 32;
  const auto t_at = [&](std::int64_t row, int i) {
    return row < p.rows && i < p.rank ? p.t[row * p.rank + i] : 0.0f;
  };
  const auto b_at = [&](std::int64_t column, int i) {
    return column < p.columns && i < p.rank ? p.b[column * p.column_step + i * p.rank_step] : 0.0f;
  };

  RightTile b[Parts][4];
#pragma unroll
  for (int part = 0; part < Parts; ++part)
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const std::int64_t column = first_column + group / 2 * 8 + j * 2 + group % 2;
      const int i = part * 16 + pair;
      b[part][j] = {{pack<Bf16>(b_at(column, i), b_at(column, i + 1)),
                     pack<Bf16>(b_at(column, i + 8), b_at(column, i + 9))}};
    }
  const std::int64_t column = first_column + lane % 4 * 8;
  const bool inside = column < p.columns;
  float bias[8] = {};
  if (p.bias && inside) {
#pragma unroll
    for (int i = 0; i < 8; ++i) bias[i] = bias_at(p, column + i);
  }

  for (std::int64_t tile = first_row; tile < first_row + expansion_rows && tile < p.rows; tile += 16) {
    SumTile sums[4];
    const std::int64_t row = tile + group;
#pragma unroll
    for (int part = 0; part < Parts; ++part) {
      const int i = part * 16 + pair;
      const LeftTile t{{pack<Bf16>(t_at(row, i), t_at(row, i + 1)),
                        pack<Bf16>(t_at(row + 8, i), t_at(row + 8, i + 1)),
                        pack<Bf16>(t_at(row, i + 8), t_at(row, i + 9)),
                        pack<Bf16>(t_at(row + 8, i + 8), t_at(row + 8, i + 9))}};
#pragma unroll
      for (int j = 0; j < 4; ++j) multiply_add<Bf16>(sums[j], t, b[part][j]);
    }
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      if (!inside || row + 8 * h >= p.rows) continue;
      std::uint32_t words[4];
#pragma unroll
      for (int j = 0; j < 4; ++j)
        words[j] = pack<Bf16>(sums[j].x[2 * h] + bias[2 * j], sums[j].x[2 * h + 1] + bias[2 * j + 1]);
      auto* const to = static_cast<Bf16*>(p.out) + (row + 8 * h) * p.columns + column;
      *reinterpret_cast<uint4*>(to) = make_uint4(words[0], words[1], words[2], words[3]);
    }
  }
}

constexpr int gradient_warps = 4;
constexpr int gradient_columns = 64;

/// A block sums 64 columns over its split of the rows, its warps taking turns at 16 rows. The product is
/// transposed, t^T x: x is the right operand, in whose column c of tile j a thread finds the column 8 c + j
/// of the 64 among the 16 bytes that it reads of each row.
template <int RankTiles>
__global__ void __launch_bounds__(gradient_warps * 32)
    sum_over_rows(const LoraGradient p, std::int64_t rows_a_split, float* to) {
  __shared__ float partial[gradient_warps][16][gradient_columns + 1];
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int group = lane / 4;
  const int pair = lane % 4 * 2;
  const std::int64_t blocks = (p.columns + gradient_columns - 1) / gradient_columns;
  const std::int64_t split = blockIdx.x / blocks;
  const std::int64_t first_column = blockIdx.x % blocks * gradient_columns;
  const std::int64_t begin = split * rows_a_split;
  const std::int64_t end = begin + rows_a_split < p.rows ? begin + rows_a_split : p.rows;
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

  to += split * p.columns * p.rank;
#pragma unroll
  for (int rank = 0; rank < RankTiles; ++rank) {
    __syncthreads();
#pragma unroll
    for (int j = 0; j < 8; ++j)
#pragma unroll
      for (int e = 0; e < 4; ++e)
        partial[warp][e / 2 * 8 + group][(pair + e % 2) * 8 + j] = sums[rank][j].x[e];
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < 16 * gradient_columns; i += gradient_warps * 32) {
      // Neighbouring threads write neighbouring addresses in either order of the result.
      const bool by_rank = p.rank_step == 1;
      const int r = by_rank ? i % 16 : i / gradient_columns;
      const int c = by_rank ? i / 16 : i % gradient_columns;
      if (rank * 16 + r >= p.rank || first_column + c >= p.columns) continue;
      float sum = 0;
      for (int w = 0; w < gradient_warps; ++w) sum += partial[w][r][c];
      to[(first_column + c) * p.column_step + (rank * 16 + r) * p.rank_step] = sum;
    }
  }
}

__global__ void sum_splits(const float* partial, float* out, std::int64_t count, std::int64_t splits) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= count) return;
  float sum = 0;
  for (std::int64_t s = 0; s < splits; ++s) sum += partial[s * count + i];
  out[i] = sum;
}

template <int Tiles, int RowTiles>
void launch_project(const LoraProjection& p, cudaStream_t stream) {
  constexpr int rows = RowTiles * 16;
  constexpr int warps = Tiles <= 2 ? 16 : 8;  // as many loads under way as registers allow
  constexpr std::size_t shared = sizeof(float) * warps * rows * (Tiles * 8 + 1);
  check(cudaFuncSetAttribute(project<Tiles, RowTiles, warps>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(shared)),
        "asking for shared memory");
  project<Tiles, RowTiles, warps>
      <<<static_cast<unsigned>((p.rows + rows - 1) / rows), warps * 32, shared, stream>>>(p);
}

}  // namespace

void launch_lora_projection(const LoraProjection& p, cudaStream_t stream) {
  const bool many = p.rows > 2048;  // then blocks of more rows, which read a less often, are enough
  if (p.rank <= 8)
    many ? launch_project<1, 4>(p, stream) : launch_project<1, 1>(p, stream);
  else if (p.rank <= 16)
    many ? launch_project<2, 4>(p, stream) : launch_project<2, 1>(p, stream);
  else if (p.rank <= 32)
    many ? launch_project<4, 2>(p, stream) : launch_project<4, 1>(p, stream);
  else
    launch_project<8, 1>(p, stream);
  check_launch("the projection of an adapter");
}

void launch_lora_expansion(const LoraExpansion& p, cudaStream_t stream) {
  const std::int64_t blocks = ((p.columns + expansion_columns - 1) / expansion_columns) *
                              ((p.rows + expansion_rows - 1) / expansion_rows);
  const auto kernel = p.rank <= 16 ? expand<1> : p.rank <= 32 ? expand<2> : expand<4>;
  kernel<<<static_cast<unsigned>(blocks), expansion_warps * 32, 0, stream>>>(p);
  check_launch("the expansion of an adapter");
}

std::int64_t lora_gradient_splits(const LoraGradient& p) {
  constexpr std::int64_t enough_blocks = 1024;
  constexpr std::int64_t least_rows = 256;
  const std::int64_t blocks = (p.columns + gradient_columns - 1) / gradient_columns;
  const std::int64_t most = (p.rows + least_rows - 1) / least_rows;
  return std::clamp<std::int64_t>((enough_blocks + blocks - 1) / blocks, 1, std::max<std::int64_t>(most, 1));
}

void launch_lora_gradient(const LoraGradient& p, cudaStream_t stream) {
  const std::int64_t splits = lora_gradient_splits(p);
  const std::int64_t rows_a_split = (p.rows + splits - 1) / splits;
  const std::int64_t blocks = (p.columns + gradient_columns - 1) / gradient_columns * splits;
  const auto kernel = p.rank <= 16 ? sum_over_rows<1> : p.rank <= 32 ? sum_over_rows<2> : sum_over_rows<4>;
  kernel<<<static_cast<unsigned>(blocks), gradient_warps * 32, 0, stream>>>(p, rows_a_split,
                                                                            splits > 1 ? p.partial : p.out);
  check_launch("the gradient of an adapter");
  if (splits == 1) return;
  const std::int64_t count = p.columns * p.rank;
  sum_splits<<<static_cast<unsigned>((count + 255) / 256), 256, 0, stream>>>(p.partial, p.out, count, splits);
  check_launch("the gradient of an adapter");
}

}  // namespace wick::cuda
