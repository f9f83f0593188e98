#include <algorithm>

#include "backend/cuda/attention.cuh"
#include "backend/cuda/check.h"
#include "backend/cuda/dispatch.cuh"
#include "backend/cuda/tensor_core.cuh"

// Attention of few queries to many keys, as when text is generated. It is bound by reading keys and values,
// which go from memory straight into the registers that the tensor cores take them from: sums over d and over
// keys have no order of their own, so that each thread takes 16 bytes that lie together for what the
// instructions want from two or four places.
namespace wick::cuda {
namespace {

constexpr int warps = 4;
constexpr int threads = warps * 32;
constexpr int step_keys = 16;                  // of a warp
constexpr int block_keys = warps * step_keys;  // of one step of all warps
constexpr std::int64_t most_splits = 64;

/// Keys of one block: fixed by the lengths, so that sums are the same however many keys are visible.
std::int64_t keys_of_split(std::int64_t n) {
  const std::int64_t steps = (n + block_keys * most_splits - 1) / (block_keys * most_splits);
  return steps * block_keys;
}
std::int64_t splits_of(std::int64_t n) { return (n + keys_of_split(n) - 1) / keys_of_split(n); }

/// What the blocks of one list of rows leave for the last pass: [lists, splits, 16] maxima and sums, and
/// [lists, splits, 16, d] weighted values.
struct Parts {
  float* largest;
  float* total;
  float* values;
  std::int64_t split_keys;
  std::int64_t splits;
};

/// Which query a row of a list is: the queries of one head follow one another.
struct Row {
  std::int64_t head;
  std::int64_t query;
  __device__ Row(const AttentionProblem& p, std::int64_t kv_head, std::int64_t row)
      : head(kv_head * (p.heads / p.kv_heads) + row / p.m), query(row % p.m) {}
};

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

/// A block takes the keys of one split of one key head.
template <typename T, int Width, bool masked>
__global__ void __launch_bounds__(threads) attend_to_split(const AttentionProblem p, const Parts parts) {
  constexpr int pieces = Width / 32;  // of 32 elements of d
  constexpr int halves = Width / 64;  // of 64
  __shared__ float warp_largest[warps][16];
  __shared__ float warp_total[warps][16];
  __shared__ float warp_values[warps][16][Width + 1];
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int group = lane / 4;
  const int quarter = lane % 4;
  const std::int64_t split = blockIdx.x % parts.splits;
  const std::int64_t list = blockIdx.x / parts.splits;
  const std::int64_t batch = list / p.kv_heads;
  const std::int64_t kv_head = list % p.kv_heads;
  const std::int64_t rows = p.heads / p.kv_heads * p.m;
  const std::int64_t first = first_position(p);
  const KeyRange all = visible_keys(p, first, first + p.m - 1);
  const std::int64_t split_begin = split * parts.split_keys;
  const KeyRange here{all.begin > split_begin ? all.begin : split_begin,
                      all.end < split_begin + parts.split_keys ? all.end : split_begin + parts.split_keys};
  if (here.begin >= here.end) {
    if (threadIdx.x < 16) parts.total[blockIdx.x * 16 + threadIdx.x] = 0;
    return;
  }

  const Row row[2] = {Row(p, kv_head, group), Row(p, kv_head, group + 8)};
  const bool real[2] = {group < rows, group + 8 < rows};
  KeyRange own[2];
  uint4 q[2][pieces];
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    own[h] = visible_keys(p, first + row[h].query);
    const T* from = row_of<T>(p.q, p.q_steps, batch, row[h].head, row[h].query);
#pragma unroll
    for (int c = 0; c < pieces; ++c) {
      const int column = c * 32 + quarter * 8;
      q[h][c] = load_if(real[h] && column < p.d, from + column);
    }
  }
  const T* const k = row_of<T>(p.k, p.k_steps, batch, kv_head, 0);
  const T* const v = row_of<T>(p.v, p.v_steps, batch, kv_head, 0);

  SumTile out[halves][8];  // column g of tile j is element 64 half + 8 g + j of d
  float largest[2] = {-INFINITY, -INFINITY};
  float total[2] = {0, 0};
  for (std::int64_t key = split_begin + warp * step_keys; key < here.end; key += block_keys) {
    if (key + step_keys <= here.begin) continue;
    uint4 key_parts[2][pieces];
    uint4 value_parts[4][halves];
#pragma unroll
    for (int t = 0; t < 2; ++t) {
      const std::int64_t j = key + t * 8 + group;
#pragma unroll
      for (int c = 0; c < pieces; ++c) {
        const int column = c * 32 + quarter * 8;
        key_parts[t][c] = load_if(here.holds(j) && column < p.d, k + j * p.k_steps.position + column);
      }
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const std::int64_t j = key + i / 2 * 8 + quarter * 2 + i % 2;
#pragma unroll
      for (int half = 0; half < halves; ++half) {
        const int column = half * 64 + group * 8;
        value_parts[i][half] = load_if(here.holds(j) && column < p.d, v + j * p.v_steps.position + column);
      }
    }

    SumTile scores[2];
#pragma unroll
    for (int t = 0; t < 2; ++t)
#pragma unroll
      for (int c = 0; c < pieces; ++c) {
        const uint4& x = key_parts[t][c];
        multiply_add<T>(scores[t], {q[0][c].x, q[1][c].x, q[0][c].y, q[1][c].y}, {x.x, x.y});
        multiply_add<T>(scores[t], {q[0][c].z, q[1][c].z, q[0][c].w, q[1][c].w}, {x.z, x.w});
      }
#pragma unroll
    for (int t = 0; t < 2; ++t)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int h = i / 2;
        const std::int64_t j = key + t * 8 + quarter * 2 + i % 2;
        scores[t].x[i] = real[h] && here.holds(j) && own[h].holds(j)
                             ? log2_score<masked>(p, scores[t].x[i], batch, row[h].head, row[h].query, j)
                             : -INFINITY;
      }
#pragma unroll
    for (int h = 0; h < 2; ++h) {
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
    const LeftTile weights{{pack<T>(scores[0].x[0], scores[0].x[1]), pack<T>(scores[0].x[2], scores[0].x[3]),
                            pack<T>(scores[1].x[0], scores[1].x[1]),
                            pack<T>(scores[1].x[2], scores[1].x[3])}};
#pragma unroll
    for (int half = 0; half < halves; ++half)
#pragma unroll
      for (int j = 0; j < 8; j += 2) {
        std::uint32_t x[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) x[i] = word(value_parts[i][half], j / 2);
        multiply_add<T>(out[half][j], weights, {low_halves(x[0], x[1]), low_halves(x[2], x[3])});
        multiply_add<T>(out[half][j + 1], weights, {high_halves(x[0], x[1]), high_halves(x[2], x[3])});
      }
  }

#pragma unroll
  for (int h = 0; h < 2; ++h) {
    if (quarter == 0) {
      warp_largest[warp][group + 8 * h] = largest[h];
      warp_total[warp][group + 8 * h] = total[h];
    }
#pragma unroll
    for (int half = 0; half < halves; ++half)
#pragma unroll
      for (int j = 0; j < 8; ++j)
#pragma unroll
        for (int e = 0; e < 2; ++e)
          warp_values[warp][group + 8 * h][half * 64 + (quarter * 2 + e) * 8 + j] = out[half][j].x[2 * h + e];
  }
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < static_cast<int>(rows) * Width; i += threads) {
    const int r = i / Width;
    const int column = i % Width;
    float most = -INFINITY;
    for (int w = 0; w < warps; ++w) most = fmaxf(most, warp_largest[w][r]);
    const float shift = most == -INFINITY ? 0.0f : most;
    float sum = 0;
    float value = 0;
    for (int w = 0; w < warps; ++w) {
      const float factor = exp2f(warp_largest[w][r] - shift);
      sum += warp_total[w][r] * factor;
      value += warp_values[w][r][column] * factor;
    }
    const std::int64_t at = blockIdx.x * std::int64_t{16} + r;
    if (column < p.d) parts.values[at * p.d + column] = value;
    if (column == 0) {
      parts.largest[at] = most;
      parts.total[at] = sum;
    }
  }
}

/// A block sums up the splits of one row.
template <typename T>
__global__ void __launch_bounds__(threads) combine_splits(const AttentionProblem p, const Parts parts) {
  const std::int64_t rows = p.heads / p.kv_heads * p.m;
  const std::int64_t list = blockIdx.x / rows;
  const std::int64_t r = blockIdx.x % rows;
  const std::int64_t begin = list * parts.splits;
  float most = -INFINITY;
  for (std::int64_t s = begin; s < begin + parts.splits; ++s)
    if (parts.total[s * 16 + r] != 0) most = fmaxf(most, parts.largest[s * 16 + r]);
  const float shift = most == -INFINITY ? 0.0f : most;
  const Row row(p, list % p.kv_heads, r);
  T* const out = static_cast<T*>(p.out) + ((list / p.kv_heads * p.heads + row.head) * p.m + row.query) * p.d;
  for (std::int64_t column = threadIdx.x; column < p.d; column += threads) {
    float sum = 0;
    float value = 0;
    for (std::int64_t s = begin; s < begin + parts.splits; ++s) {
      const std::int64_t at = s * 16 + r;
      if (parts.total[at] == 0) continue;  // nothing of it is visible, nothing was written
      const float factor = exp2f(parts.largest[at] - shift);
      sum += parts.total[at] * factor;
      value += parts.values[at * p.d + column] * factor;
    }
    out[column] = written<T>(sum == 0 ? 0.0f : value / sum);
  }
}

template <typename T, int Width>
void launch(const AttentionProblem& p, const Parts& parts, cudaStream_t stream) {
  const std::int64_t lists = p.batch * p.kv_heads;
  const auto kernel = p.mask ? attend_to_split<T, Width, true> : attend_to_split<T, Width, false>;
  kernel<<<static_cast<unsigned>(lists * parts.splits), threads, 0, stream>>>(p, parts);
  check_launch("attention");
  const auto rows = static_cast<unsigned>(p.batch * p.heads * p.m);
  combine_splits<T><<<rows, static_cast<unsigned>(threads), 0, stream>>>(p, parts);
  check_launch("attention");
}

}  // namespace

std::size_t decode_attention_scratch(const AttentionProblem& p) {
  const std::int64_t rows = p.batch * p.kv_heads * splits_of(std::max<std::int64_t>(p.n, 1)) * 16;
  return static_cast<std::size_t>(rows * (2 + p.d)) * sizeof(float);
}

void launch_decode_attention(const AttentionProblem& p, void* scratch, cudaStream_t stream) {
  const std::int64_t splits = splits_of(p.n);
  const std::int64_t rows = p.batch * p.kv_heads * splits * 16;
  auto* const floats = static_cast<float*>(scratch);
  const Parts parts{floats, floats + rows, floats + 2 * rows, keys_of_split(p.n), splits};
  visit_half(p.dtype, [&]<typename T>() {
    if (p.d <= 64)
      launch<T, 64>(p, parts, stream);
    else
      launch<T, 128>(p, parts, stream);
  });
}

}  // namespace wick::cuda
