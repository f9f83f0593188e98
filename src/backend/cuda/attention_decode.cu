#include <algorithm>

#include "backend/cuda/attention_decode.cuh"
#include "backend/cuda/device/launch_order.cuh"
#include "backend/cuda/dispatch.cuh"
#include "backend/cuda/launch_kernel.h"

// Attention of few queries, as when text is generated: blocks split the keys, a second pass adds them up.
namespace wick::cuda {
namespace {

constexpr int warps = 4;
constexpr int threads = warps * 32;
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

/// A block takes the keys of one split of one key head.
template <typename T, int Width, bool masked>
__global__ void __launch_bounds__(threads) attend_to_split(const AttentionProblem p, const Parts parts) {
  begin_in_order();
  __shared__ WarpParts<warps, Width, 2> warp_parts;
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
  WarpAttention<T, Width, 2> seen;
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    own[h] = visible_keys(p, first + row[h].query);
    const T* from = row_of<T>(p.q, p.q_steps, batch, row[h].head, row[h].query);
#pragma unroll
    for (int c = 0; c < seen.pieces; ++c) {
      const int column = c * 32 + quarter * 8;
      seen.q[h][c] = load_if(real[h] && column < p.d, from + column);
    }
  }
  const T* const k = row_of<T>(p.k, p.k_steps, batch, kv_head, 0);
  const T* const v = row_of<T>(p.v, p.v_steps, batch, kv_head, 0);
  for (std::int64_t key = split_begin + warp * step_keys; key < here.end; key += block_keys) {
    if (key + step_keys <= here.begin) continue;
    HeldKeys<Width> held;
    const auto load = [&](const T* from, std::int64_t step, int j, int column) {
      return load_if(here.holds(key + j) && column < p.d, from + (key + j) * step + column);
    };
    held.each([&](int j, int column, uint4& to) { to = load(k, p.k_steps.position, j, column); },
              [&](int j, int column, uint4& to) { to = load(v, p.v_steps.position, j, column); });
    seen.see(held, [&](int h, int j, float product) {
      return real[h] && here.holds(key + j) && own[h].holds(key + j)
                 ? log2_score<masked>(p, product, batch, row[h].head, row[h].query, key + j)
                 : -INFINITY;
    });
  }

  warp_parts.store(warp, seen);
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < static_cast<int>(rows) * Width; i += threads) {
    const int r = i / Width;
    const int column = i % Width;
    const RowPart part = warp_parts.combined(r, column);
    const std::int64_t at = blockIdx.x * std::int64_t{16} + r;
    if (column < p.d) parts.values[at * p.d + column] = part.value;
    if (column == 0) {
      parts.largest[at] = part.largest;
      parts.total[at] = part.total;
    }
  }
}

/// A block sums up the splits of one row.
template <typename T>
__global__ void __launch_bounds__(threads) combine_splits(const AttentionProblem p, const Parts parts) {
  begin_in_order();
  const std::int64_t rows = p.heads / p.kv_heads * p.m;
  const std::int64_t list = blockIdx.x / rows;
  const std::int64_t r = blockIdx.x % rows;
  const std::int64_t begin = list * parts.splits;
  float most = -INFINITY;
  for (std::int64_t s = begin; s < begin + parts.splits; ++s)
    if (parts.total[s * 16 + r] != 0) most = fmaxf(most, parts.largest[s * 16 + r]);
  const float shift = most == -INFINITY ? 0.0f : most;
  const Row row(p, list % p.kv_heads, r);
  T* const out = static_cast<T*>(p.out) + row_at(p.out_steps, list / p.kv_heads, row.head, row.query);
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
  launch_kernel(kernel, {static_cast<unsigned>(lists * parts.splits), threads}, stream, "attention", p,
                parts);
  const auto rows = static_cast<unsigned>(p.batch * p.heads * p.m);
  launch_kernel(combine_splits<T>, {rows, threads}, stream, "attention", p, parts);
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
