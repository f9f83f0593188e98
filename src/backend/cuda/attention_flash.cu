#include "backend/cuda/attention.cuh"
#include "backend/cuda/attention_tiles.cuh"
#include "backend/cuda/device/launch_order.cuh"
#include "backend/cuda/dispatch.cuh"
#include "backend/cuda/hopper/attention.h"
#include "backend/cuda/launch_kernel.h"

// Attention of 16-bit floats by tensor cores, tile by tile with a running softmax (Milakov and Gimelshein
// 2018, https://arxiv.org/abs/1805.02867; Dao et al. 2022, https://arxiv.org/abs/2205.14135).
namespace wick::cuda {
namespace {

constexpr int warps = 4;
constexpr int threads = warps * 32;
constexpr int block_rows = warps * 16;

/// A block computes 64 queries of one head, a warp 16 of them. Width: d, rounded up; Keys: of a tile.
template <typename T, int Width, int Keys, bool masked>
__global__ void __launch_bounds__(threads) flash_attention(const AttentionProblem p) {
  begin_in_order();
  using Tile = SharedTile<Keys, Width>;
  extern __shared__ uint4 shared[];
  auto* const keys = reinterpret_cast<Tile*>(shared);  // [2], then values [2]
  Tile* const values = keys + 2;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int group = lane / 4;
  const int pair = lane % 4 * 2;
  const HeadTile at(blockIdx.x, p.batch, p.heads, (p.m + block_rows - 1) / block_rows);
  const std::int64_t kv_head = at.head / (p.heads / p.kv_heads);
  const std::int64_t block_first = at.tile * block_rows;
  const std::int64_t block_last = block_first + block_rows < p.m ? block_first + block_rows - 1 : p.m - 1;
  const std::int64_t first = first_position(p);
  const KeyRange all = visible_keys(p, first + block_first, first + block_last);
  const std::int64_t query = block_first + static_cast<int>(threadIdx.x) / 32 * 16 + group;  // and that + 8
  const std::int64_t queries[2] = {query, query + 8};
  const KeyRange own[2] = {visible_keys(p, first + query), visible_keys(p, first + query + 8)};
  // Keys that all queries of the block see.
  const KeyRange common{visible_keys(p, first + block_last).begin, visible_keys(p, first + block_first).end};
  const T* const k = row_of<T>(p.k, p.k_steps, at.batch, kv_head, 0);
  const T* const v = row_of<T>(p.v, p.v_steps, at.batch, kv_head, 0);

  LeftTile q[Width / 16];
  load_left(q, row_of<T>(p.q, p.q_steps, at.batch, at.head, 0), p.q_steps.position, query, p.m, p.d);

  SumTile out[Width / 8];
  float largest[2] = {-INFINITY, -INFINITY};
  float total[2] = {0, 0};
  int stage = 0;
  if (all.begin < all.end) {
    keys[0].template copy<threads>(k, p.k_steps.position, all.begin, all.end, p.d);
    values[0].template copy<threads>(v, p.v_steps.position, all.begin, all.end, p.d);
  }
  commit_copies();
  for (std::int64_t key = all.begin; key < all.end; key += Keys, stage ^= 1) {
    if (key + Keys < all.end) {
      keys[stage ^ 1].template copy<threads>(k, p.k_steps.position, key + Keys, all.end, p.d);
      values[stage ^ 1].template copy<threads>(v, p.v_steps.position, key + Keys, all.end, p.d);
    }
    commit_copies();
    wait_copies<1>();
    __syncthreads();

    SumTile scores[Keys / 8];
    multiply_by_rows<T>(scores, q, keys[stage]);
    const bool whole = key >= common.begin && key + Keys <= common.end;
#pragma unroll
    for (int t = 0; t < Keys / 8; ++t)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const std::int64_t j = key + t * 8 + pair + i % 2;
        const bool visible = whole || own[i / 2].holds(j);
        // A row behind the last query would have its mask read from beyond.
        const bool real = !masked || queries[i / 2] < p.m;
        scores[t].x[i] = visible && real
                             ? log2_score<masked>(p, scores[t].x[i], at.batch, at.head, queries[i / 2], j)
                             : -INFINITY;
      }
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      float here = -INFINITY;
#pragma unroll
      for (int t = 0; t < Keys / 8; ++t)
        here = fmaxf(here, fmaxf(scores[t].x[2 * h], scores[t].x[2 * h + 1]));
      const float before = largest[h];
      largest[h] = fmaxf(before, row_max(here));
      const float shift = largest[h] == -INFINITY ? 0.0f : largest[h];
      const float correction = exp2f(before - shift);
      float sum = 0;
#pragma unroll
      for (int t = 0; t < Keys / 8; ++t)
#pragma unroll
        for (int i = 2 * h; i < 2 * h + 2; ++i) {
          scores[t].x[i] = exp2f(scores[t].x[i] - shift);
          sum += scores[t].x[i];
        }
      total[h] = total[h] * correction + sum;  // of this thread's keys
#pragma unroll
      for (int t = 0; t < Width / 8; ++t) {
        out[t].x[2 * h] *= correction;
        out[t].x[2 * h + 1] *= correction;
      }
    }
#pragma unroll
    for (int s = 0; s < Keys / 16; ++s)
      multiply_by_columns<T>(out, left_of<T>(scores[2 * s], scores[2 * s + 1]), values[stage], s * 16);
    __syncthreads();
  }
  wait_copies<0>();

#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const float sum = row_sum(total[h]);
    if (queries[h] >= p.m) continue;
    store_row<T>(static_cast<T*>(p.out) + row_at(p.out_steps, at.batch, at.head, queries[h]), out, h,
                 sum == 0 ? 0.0f : 1 / sum, pair, p.d);
  }
}

template <int Width, int Keys>
void launch(const AttentionProblem& p, cudaStream_t stream) {
  visit_half(p.dtype, [&]<typename T>() {
    const auto kernel =
        p.mask ? flash_attention<T, Width, Keys, true> : flash_attention<T, Width, Keys, false>;
    constexpr std::size_t shared = 4 * sizeof(SharedTile<Keys, Width>);
    const std::int64_t blocks = p.batch * p.heads * ((p.m + block_rows - 1) / block_rows);
    launch_kernel(kernel, {static_cast<unsigned>(blocks), threads, shared}, stream, "attention", p);
  });
}

}  // namespace

void launch_flash_attention(const AttentionProblem& problem, cudaStream_t stream) {
  if (launch_hopper_attention(problem, stream)) return;
  if (problem.d <= 64)
    launch<64, 64>(problem, stream);
  else if (problem.d <= 128)
    launch<128, 64>(problem, stream);
  else
    launch<256, 32>(problem, stream);
}

}  // namespace wick::cuda
