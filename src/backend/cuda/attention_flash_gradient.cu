#include <algorithm>
#include <type_traits>

#include "backend/cuda/attention.cuh"
#include "backend/cuda/attention_tiles.cuh"
#include "backend/cuda/device/launch_order.cuh"
#include "backend/cuda/dispatch.cuh"
#include "backend/cuda/hopper/attention_gradient.h"
#include "backend/cuda/launch_kernel.h"
#include "backend/cuda/rows.cuh"

// The gradient of attention of 16-bit floats by tensor cores. The softmax is computed again, tile by tile, in
// place of being kept (Dao et al. 2022, https://arxiv.org/abs/2205.14135); the gradient of q is summed by
// blocks of queries, those of k and v by blocks of keys, so that no sum depends on the order of blocks.
namespace wick::cuda {
namespace {

constexpr int warps = 4;
constexpr int threads = warps * 32;
constexpr int block_rows = warps * 16;

/// A block computes the gradient of 64 queries of one head, a warp of 16 of them, as the forward pass
/// computes its output, and leaves the statistics of their softmax.
template <typename T, int Width, int Keys, bool masked>
__global__ void __launch_bounds__(threads) flash_query_gradient(const AttentionGradientProblem g) {
  begin_in_order();
  using Tile = SharedTile<Keys, Width>;
  extern __shared__ uint4 shared[];
  auto* const keys = reinterpret_cast<Tile*>(shared);  // [2], then values [2]
  Tile* const values = keys + 2;
  const AttentionProblem& p = g.forward;
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
  const KeyRange common{visible_keys(p, first + block_last).begin, visible_keys(p, first + block_first).end};
  const T* const k = row_of<T>(p.k, p.k_steps, at.batch, kv_head, 0);
  const T* const v = row_of<T>(p.v, p.v_steps, at.batch, kv_head, 0);

  LeftTile q[Width / 16];
  LeftTile grad[Width / 16];
  float product[2] = {0, 0};
  {
    LeftTile out[Width / 16];
    load_left(grad, row_of<T>(g.grad, g.grad_steps, at.batch, at.head, 0), g.grad_steps.position, query, p.m,
              p.d);
    load_left(out, row_of<T>(g.out, g.out_steps, at.batch, at.head, 0), g.out_steps.position, query, p.m,
              p.d);
#pragma unroll
    for (int c = 0; c < Width / 16; ++c)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float2 a = unpack<T>(grad[c].x[i]);
        const float2 b = unpack<T>(out[c].x[i]);
        product[i % 2] += a.x * b.x + a.y * b.y;
      }
  }
  product[0] = row_sum(product[0]);
  product[1] = row_sum(product[1]);
  load_left(q, row_of<T>(p.q, p.q_steps, at.batch, at.head, 0), p.q_steps.position, query, p.m, p.d);

  SumTile sums[Width / 8];
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
    SumTile slopes[Keys / 8];
    multiply_by_rows<T>(scores, q, keys[stage]);
    multiply_by_rows<T>(slopes, grad, values[stage]);
    const bool whole = key >= common.begin && key + Keys <= common.end;
#pragma unroll
    for (int t = 0; t < Keys / 8; ++t)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const std::int64_t j = key + t * 8 + pair + i % 2;
        const bool visible = whole || own[i / 2].holds(j);
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
          const float weight = exp2f(scores[t].x[i] - shift);
          sum += weight;
          scores[t].x[i] = weight == 0 ? 0.0f : weight * (slopes[t].x[i] - product[h]);
        }
      total[h] = total[h] * correction + sum;
#pragma unroll
      for (int t = 0; t < Width / 8; ++t) {
        sums[t].x[2 * h] *= correction;
        sums[t].x[2 * h + 1] *= correction;
      }
    }
#pragma unroll
    for (int s = 0; s < Keys / 16; ++s)
      multiply_by_columns<T>(sums, left_of<T>(scores[2 * s], scores[2 * s + 1]), keys[stage], s * 16);
    __syncthreads();
  }
  wait_copies<0>();

#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const float sum = row_sum(total[h]);
    if (queries[h] >= p.m) continue;
    const std::int64_t row = (at.batch * p.heads + at.head) * p.m + queries[h];
    const float scale = sum == 0 ? 0.0f : static_cast<float>(p.scale) / sum;
    store_row<T>(static_cast<T*>(g.q_gradient) + row_at(g.q_gradient_steps, at.batch, at.head, queries[h]),
                 sums, h, scale, pair, p.d);
    if (pair == 0) RowStatistics<float>(g).set(row, largest[h], sum, product[h]);
  }
}

/// What the other kernel holds in shared memory.
template <int Queries, int Width>
struct KeyGradientMemory {
  SharedTile<block_rows, Width> keys;
  SharedTile<block_rows, Width> values;
  SharedTile<Queries, Width> queries[2];
  SharedTile<Queries, Width> grads[2];
  float largest[2][Queries];
  float inverse[2][Queries];
  float product[2][Queries];
};

/// A block sums the gradients of 64 keys and values, a warp of 16 of them, over the queries of all heads that
/// read them, or one of several parts of these heads. Scores are computed transposed, so that they are left
/// operands of what follows.
template <typename T, int Width, int Queries, bool masked>
__global__ void __launch_bounds__(threads)
    flash_key_gradient(const AttentionGradientProblem g, const std::int64_t parts) {
  begin_in_order();
  extern __shared__ uint4 shared[];
  auto& memory = *reinterpret_cast<KeyGradientMemory<Queries, Width>*>(shared);
  const AttentionProblem& p = g.forward;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp_row = static_cast<int>(threadIdx.x) / 32 * 16;
  const int group = lane / 4;
  const int pair = lane % 4 * 2;
  const std::int64_t blocks = (p.n + block_rows - 1) / block_rows;
  const HeadTile at(blockIdx.x / parts, p.batch, p.kv_heads, blocks);
  const std::int64_t part = blockIdx.x % parts;
  const std::int64_t block_first = (blocks - 1 - at.tile) * block_rows;  // early keys have most queries
  const std::int64_t block_end = block_first + block_rows < p.n ? block_first + block_rows : p.n;
  const std::int64_t key = block_first + warp_row + group;  // and that + 8
  const std::int64_t first = first_position(p);
  const std::int64_t sharing = p.heads / p.kv_heads;
  const std::int64_t first_head = at.head * sharing + part * sharing / parts;
  const std::int64_t heads = at.head * sharing + (part + 1) * sharing / parts - first_head;
  const std::int64_t tiles = (p.m + Queries - 1) / Queries;
  const RowStatistics<float> statistics(g);

  // Tiles of queries of all heads are one list; those that see no key of the block are left out.
  const auto last_of = [&](std::int64_t query) {
    return query + Queries < p.m ? query + Queries - 1 : p.m - 1;
  };
  const auto next = [&](std::int64_t tile) {
    for (; tile < heads * tiles; ++tile) {
      const std::int64_t query = tile % tiles * Queries;
      const KeyRange seen = visible_keys(p, first + query, first + last_of(query));
      if (seen.begin < block_end && seen.end > block_first) break;
    }
    return tile;
  };
  const auto copy = [&](std::int64_t tile, int stage) {
    if (tile >= heads * tiles) return;
    const std::int64_t head = first_head + tile / tiles;
    const std::int64_t query = tile % tiles * Queries;
    memory.queries[stage].template copy<threads>(row_of<T>(p.q, p.q_steps, at.batch, head, 0),
                                                 p.q_steps.position, query, p.m, p.d);
    memory.grads[stage].template copy<threads>(row_of<T>(g.grad, g.grad_steps, at.batch, head, 0),
                                               g.grad_steps.position, query, p.m, p.d);
    for (int i = static_cast<int>(threadIdx.x); i < Queries; i += threads) {
      const std::int64_t row = (at.batch * p.heads + head) * p.m + query + i;
      const bool inside = query + i < p.m;
      memory.largest[stage][i] = inside ? statistics.largest[row] : 0;
      memory.inverse[stage][i] = inside ? statistics.inverse[row] : 0;
      memory.product[stage][i] = inside ? statistics.product[row] : 0;
    }
  };

  SumTile k_sums[Width / 8];
  SumTile v_sums[Width / 8];
  memory.keys.template copy<threads>(row_of<T>(p.k, p.k_steps, at.batch, at.head, 0), p.k_steps.position,
                                     block_first, p.n, p.d);
  memory.values.template copy<threads>(row_of<T>(p.v, p.v_steps, at.batch, at.head, 0), p.v_steps.position,
                                       block_first, p.n, p.d);
  std::int64_t tile = next(0);
  copy(tile, 0);
  commit_copies();
  int stage = 0;
  while (tile < heads * tiles) {
    const std::int64_t after = next(tile + 1);
    copy(after, stage ^ 1);
    commit_copies();
    wait_copies<1>();
    __syncthreads();

    const std::int64_t head = first_head + tile / tiles;
    const std::int64_t query = tile % tiles * Queries;
    const bool whole = query + Queries <= p.m && block_first + block_rows <= p.n &&
                       visible_keys(p, first + query).end >= block_end &&
                       visible_keys(p, first + last_of(query)).begin <= block_first;
    SumTile weights[Queries / 8];
    multiply_by_rows<T>(weights, memory.keys, warp_row, memory.queries[stage]);
#pragma unroll
    for (int t = 0; t < Queries / 8; ++t)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int column = t * 8 + pair + i % 2;
        const std::int64_t j = key + i / 2 * 8;
        const bool visible =
            whole || (query + column < p.m && visible_keys(p, first + query + column).holds(j));
        float weight = 0;
        if (visible) {
          const float score = log2_score<masked>(p, weights[t].x[i], at.batch, head, query + column, j);
          weight = exp2f(score - memory.largest[stage][column]) * memory.inverse[stage][column];
        }
        weights[t].x[i] = weight;
      }
#pragma unroll
    for (int s = 0; s < Queries / 16; ++s)
      multiply_by_columns<T>(v_sums, left_of<T>(weights[2 * s], weights[2 * s + 1]), memory.grads[stage],
                             s * 16);

    SumTile slopes[Queries / 8];
    multiply_by_rows<T>(slopes, memory.values, warp_row, memory.grads[stage]);
#pragma unroll
    for (int t = 0; t < Queries / 8; ++t)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float weight = weights[t].x[i];
        const float slope = slopes[t].x[i] - memory.product[stage][t * 8 + pair + i % 2];
        slopes[t].x[i] = weight == 0 ? 0.0f : weight * slope;
      }
#pragma unroll
    for (int s = 0; s < Queries / 16; ++s)
      multiply_by_columns<T>(k_sums, left_of<T>(slopes[2 * s], slopes[2 * s + 1]), memory.queries[stage],
                             s * 16);
    __syncthreads();
    tile = after;
    stage ^= 1;
  }
  wait_copies<0>();

  const std::int64_t count = p.batch * p.kv_heads * p.n * p.d;
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    if (key + 8 * h >= p.n) continue;
    const std::int64_t row = row_at(g.k_gradient_steps, at.batch, at.head, key + 8 * h);
    const auto scale = static_cast<float>(p.scale);
    if (parts == 1) {
      store_row<T>(static_cast<T*>(g.k_gradient) + row, k_sums, h, scale, pair, p.d);
      store_row<T>(static_cast<T*>(g.v_gradient) + row, v_sums, h, 1.0f, pair, p.d);
    } else {
      store_row(g.partial + part * 2 * count + row, k_sums, h, scale, pair, p.d);
      store_row(g.partial + (part * 2 + 1) * count + row, v_sums, h, 1.0f, pair, p.d);
    }
  }
}

/// A thread sums four elements of a row of k's or v's gradient, and the four that they are rotated with.
template <typename T>
__global__ void sum_parts(const AttentionGradientProblem g, const unsigned packs, const unsigned parts) {
  begin_in_order();
  constexpr int width = 4;
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= packs) return;
  const AttentionProblem& p = g.forward;
  const auto half = static_cast<unsigned>(p.d / 2);
  const auto heads = static_cast<unsigned>(p.kv_heads);
  const auto length = static_cast<unsigned>(p.n);
  const unsigned row = i / (half / width);
  const unsigned column = i % (half / width) * width;
  const std::int64_t at = std::int64_t{row} * 2 * half + column;
  float sums[2][width] = {};
  for (unsigned part = 0; part < parts; ++part)
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const std::int64_t of_part = std::int64_t{part} * packs * 2 * width + at + h * half;
      const auto pack = load_pack<width>(g.partial + of_part);
#pragma unroll
      for (int j = 0; j < width; ++j) sums[h][j] += pack.at[j];
    }
  const unsigned position = row / heads;
  if (g.cos.data && position < static_cast<unsigned>(p.batch) * length) {
#pragma unroll
    for (int j = 0; j < width; ++j)
      rotate_back(g, position / length, position % length, static_cast<int>(column) + j, sums[0][j],
                  sums[1][j]);
  }
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    Pack<T, width> pack;
#pragma unroll
    for (int j = 0; j < width; ++j) pack.at[j] = written<T>(sums[h][j]);
    store_pack(static_cast<T*>(g.k_gradient) + at + h * half, pack);  // v's lies behind
  }
}

template <typename... Arguments>
void launch(void (*kernel)(Arguments...), std::int64_t blocks, std::size_t shared, cudaStream_t stream,
            const std::type_identity_t<Arguments>&... arguments) {
  launch_kernel(kernel, {static_cast<unsigned>(blocks), threads, shared}, stream, "the gradient of attention",
                arguments...);
}

template <typename T>
void sum_key_gradient_parts(const AttentionGradientProblem& g, std::int64_t parts, cudaStream_t stream) {
  const AttentionProblem& p = g.forward;
  if (parts == 1) return;
  const auto packs = static_cast<unsigned>(2 * p.batch * p.kv_heads * p.n * p.d / 8);
  launch_kernel(sum_parts<T>, {(packs + 255) / 256, 256}, stream, "the gradient of attention", g, packs,
                static_cast<unsigned>(parts));
}

std::int64_t blocks_of(std::int64_t rows) { return (rows + block_rows - 1) / block_rows; }

/// Rows: keys of a tile for the gradient of q, queries of a tile for those of k and v.
template <typename T, int Width, int Rows, bool masked>
void launch_all(const AttentionGradientProblem& g, cudaStream_t stream) {
  const AttentionProblem& p = g.forward;
  launch(flash_query_gradient<T, Width, Rows, masked>, p.batch * p.heads * blocks_of(p.m),
         4 * sizeof(SharedTile<Rows, Width>), stream, g);
  const std::int64_t parts = flash_gradient_parts(p);
  launch(flash_key_gradient<T, Width, Rows, masked>, p.batch * p.kv_heads * blocks_of(p.n) * parts,
         sizeof(KeyGradientMemory<Rows, Width>), stream, g, parts);
  sum_key_gradient_parts<T>(g, parts, stream);
}

template <int Width, int Rows>
void launch_width(const AttentionGradientProblem& g, cudaStream_t stream) {
  visit_half(g.forward.dtype, [&]<typename T>() {
    g.forward.mask ? launch_all<T, Width, Rows, true>(g, stream)
                   : launch_all<T, Width, Rows, false>(g, stream);
  });
}

}  // namespace

std::int64_t flash_gradient_parts(const AttentionProblem& p) {
  const std::int64_t enough_blocks = p.d <= 64 ? 896 : 512;  // some of which are long, at once or in turn
  const std::int64_t blocks = p.batch * p.kv_heads * blocks_of(p.n);
  return std::min(p.heads / p.kv_heads, (enough_blocks + blocks - 1) / blocks);
}

void launch_flash_attention_gradient(const AttentionGradientProblem& problem, cudaStream_t stream) {
  const std::int64_t parts =
      launch_hopper_attention_gradient(problem, flash_gradient_parts(problem.forward), stream);
  if (parts > 0) return sum_key_gradient_parts<Bf16>(problem, parts, stream);
  AttentionGradientProblem g = problem;
  g.cos = {};
  if (g.forward.d <= 64)
    launch_width<64, 64>(g, stream);
  else
    launch_width<128, 32>(g, stream);
  launch_rotation_back(problem, stream);
}

}  // namespace wick::cuda
