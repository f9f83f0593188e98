#include "backend/cuda/attention.cuh"
#include "backend/cuda/device/launch_order.cuh"
#include "backend/cuda/dispatch.cuh"
#include "backend/cuda/launch_kernel.h"

// Attention of any float dtype and layout: a warp a query (or, backward, a key), a lane a key (or a query) of
// a tile of 32, whose rows the warps of a block share; then a lane some columns of d.
namespace wick::cuda {
namespace {

constexpr int warps = 8;
constexpr int threads = warps * 32;
constexpr int tile = 32;
constexpr int most_columns = most_attention_d / 32;  // of a lane

/// Rows [first, end) of up to `tile`, widened, one behind the other with a gap against bank conflicts; zeros
/// behind the end.
template <typename T>
__device__ void load_tile(Wide<T>* to, const T* from, const AttentionSteps& steps, std::int64_t first,
                          std::int64_t end, int d) {
  for (int i = static_cast<int>(threadIdx.x); i < tile * d; i += threads) {
    const int row = i / d;
    const int column = i % d;
    const bool inside = first + row < end;
    to[row * (d + 1) + column] =
        inside ? read(from[(first + row) * steps.position + column * steps.d]) : Wide<T>(0);
  }
}

template <typename W>
__device__ W dot(const W* a, const W* b, int d) {
  W sum = 0;
  for (int c = 0; c < d; ++c) sum += a[c] * b[c];
  return sum;
}

template <typename T>
__global__ void __launch_bounds__(threads) plain_attention(const AttentionProblem p) {
  begin_in_order();
  using W = Wide<T>;
  extern __shared__ double shared[];
  const int d = static_cast<int>(p.d);
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  W* const q = reinterpret_cast<W*>(shared) + warp * d;
  W* const keys = reinterpret_cast<W*>(shared) + warps * d;
  const HeadTile at(blockIdx.x, p.batch, p.heads, (p.m + warps - 1) / warps);
  const std::int64_t kv_head = at.head / (p.heads / p.kv_heads);
  const std::int64_t query = at.tile * warps + warp;
  const bool real = query < p.m;
  const std::int64_t first = first_position(p);
  const std::int64_t last_query = at.tile * warps + warps - 1 < p.m ? at.tile * warps + warps - 1 : p.m - 1;
  const KeyRange all = visible_keys(p, first + at.tile * warps, first + last_query);
  const KeyRange own = visible_keys(p, first + query);
  if (real) {
    const T* from = row_of<T>(p.q, p.q_steps, at.batch, at.head, query);
    for (int c = lane; c < d; c += 32) q[c] = read(from[c * p.q_steps.d]) * static_cast<W>(p.scale);
  }
  const T* const k = row_of<T>(p.k, p.k_steps, at.batch, kv_head, 0);
  const T* const v = row_of<T>(p.v, p.v_steps, at.batch, kv_head, 0);

  W sums[most_columns] = {};
  W largest = -INFINITY;
  W total = 0;
  for (std::int64_t key = all.begin; key < all.end; key += tile) {
    __syncthreads();
    load_tile(keys, k, p.k_steps, key, all.end, d);
    __syncthreads();
    if (!real) continue;
    W score = -INFINITY;
    if (own.holds(key + lane)) {
      score = dot(q, keys + lane * (d + 1), d);
      if (p.mask) score = masked_score(p, score, at.batch, at.head, query, key + lane);
    }
    const W before = largest;
    const W here = warp_max(score);
    largest = here > largest ? here : largest;
    const W shift = largest == W(-INFINITY) ? W(0) : largest;
    const W weight = exp(score - shift);
    const W correction = exp(before - shift);
    total = total * correction + warp_sum(weight);
#pragma unroll
    for (int i = 0; i < most_columns; ++i) sums[i] *= correction;
    for (int j = 0; j < tile; ++j) {
      const W w = __shfl_sync(0xffffffffu, weight, j);
      if (w == W(0)) continue;  // what no query sees may be anything
      const T* row = v + (key + j) * p.v_steps.position;
#pragma unroll
      for (int i = 0; i < most_columns; ++i)
        if (lane + i * 32 < d) sums[i] += w * read(row[(lane + i * 32) * p.v_steps.d]);
    }
  }
  if (!real) return;
  const W scale = total == W(0) ? W(0) : W(1) / total;
  T* const out = static_cast<T*>(p.out) + row_at(p.out_steps, at.batch, at.head, query);
#pragma unroll
  for (int i = 0; i < most_columns; ++i)
    if (lane + i * 32 < d) out[lane + i * 32] = written<T>(sums[i] * scale);
}

/// The gradient of q, and what the other kernel needs of each query.
template <typename T>
__global__ void __launch_bounds__(threads) plain_query_gradient(const AttentionGradientProblem g) {
  begin_in_order();
  using W = Wide<T>;
  extern __shared__ double shared[];
  const AttentionProblem& p = g.forward;
  const int d = static_cast<int>(p.d);
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  W* const q = reinterpret_cast<W*>(shared) + warp * 2 * d;
  W* const grad = q + d;
  W* const keys = reinterpret_cast<W*>(shared) + warps * 2 * d;
  W* const values = keys + tile * (d + 1);
  const HeadTile at(blockIdx.x, p.batch, p.heads, (p.m + warps - 1) / warps);
  const std::int64_t kv_head = at.head / (p.heads / p.kv_heads);
  const std::int64_t query = at.tile * warps + warp;
  const bool real = query < p.m;
  const std::int64_t first = first_position(p);
  const std::int64_t last_query = at.tile * warps + warps - 1 < p.m ? at.tile * warps + warps - 1 : p.m - 1;
  const KeyRange all = visible_keys(p, first + at.tile * warps, first + last_query);
  const KeyRange own = visible_keys(p, first + query);
  W product = 0;
  if (real) {
    const T* q_row = row_of<T>(p.q, p.q_steps, at.batch, at.head, query);
    const T* grad_row = row_of<T>(g.grad, g.grad_steps, at.batch, at.head, query);
    const T* out_row = row_of<T>(g.out, g.out_steps, at.batch, at.head, query);
    for (int c = lane; c < d; c += 32) {
      q[c] = read(q_row[c * p.q_steps.d]) * static_cast<W>(p.scale);
      grad[c] = read(grad_row[c * g.grad_steps.d]);
      product += grad[c] * read(out_row[c * g.out_steps.d]);
    }
    product = warp_sum(product);
  }
  const T* const k = row_of<T>(p.k, p.k_steps, at.batch, kv_head, 0);
  const T* const v = row_of<T>(p.v, p.v_steps, at.batch, kv_head, 0);

  W sums[most_columns] = {};
  W largest = -INFINITY;
  W total = 0;
  for (std::int64_t key = all.begin; key < all.end; key += tile) {
    __syncthreads();
    load_tile(keys, k, p.k_steps, key, all.end, d);
    load_tile(values, v, p.v_steps, key, all.end, d);
    __syncthreads();
    if (!real) continue;
    W score = -INFINITY;
    W slope = 0;
    if (own.holds(key + lane)) {
      score = dot(q, keys + lane * (d + 1), d);
      if (p.mask) score = masked_score(p, score, at.batch, at.head, query, key + lane);
      slope = dot(grad, values + lane * (d + 1), d) - product;
    }
    const W before = largest;
    const W here = warp_max(score);
    largest = here > largest ? here : largest;
    const W shift = largest == W(-INFINITY) ? W(0) : largest;
    const W weight = exp(score - shift);
    const W correction = exp(before - shift);
    total = total * correction + warp_sum(weight);
#pragma unroll
    for (int i = 0; i < most_columns; ++i) sums[i] *= correction;
    const W of_score = weight == W(0) ? W(0) : weight * slope;
    for (int j = 0; j < tile; ++j) {
      const W w = __shfl_sync(0xffffffffu, of_score, j);
#pragma unroll
      for (int i = 0; i < most_columns; ++i)
        if (lane + i * 32 < d) sums[i] += w * keys[j * (d + 1) + lane + i * 32];
    }
  }
  if (!real) return;
  const std::int64_t row = (at.batch * p.heads + at.head) * p.m + query;
  const W scale = total == W(0) ? W(0) : static_cast<W>(p.scale) / total;
  T* const out = static_cast<T*>(g.q_gradient) + row_at(g.q_gradient_steps, at.batch, at.head, query);
#pragma unroll
  for (int i = 0; i < most_columns; ++i)
    if (lane + i * 32 < d) out[lane + i * 32] = written<T>(sums[i] * scale);
  if (lane == 0) RowStatistics<W>(g).set(row, largest, total, product);
}

/// The gradients of k and v: a warp sums a key's over all queries of the heads that read it.
template <typename T>
__global__ void __launch_bounds__(threads) plain_key_gradient(const AttentionGradientProblem g) {
  begin_in_order();
  using W = Wide<T>;
  extern __shared__ double shared[];
  const AttentionProblem& p = g.forward;
  const int d = static_cast<int>(p.d);
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  W* const k = reinterpret_cast<W*>(shared) + warp * 2 * d;
  W* const v = k + d;
  W* const queries = reinterpret_cast<W*>(shared) + warps * 2 * d;
  W* const grads = queries + tile * (d + 1);
  const std::int64_t tiles = (p.n + warps - 1) / warps;
  const HeadTile at(blockIdx.x, p.batch, p.kv_heads, tiles);
  const std::int64_t key = at.tile * warps + warp;
  const bool real = key < p.n;
  const std::int64_t first = first_position(p);
  const std::int64_t group = p.heads / p.kv_heads;
  const RowStatistics<W> statistics(g);
  if (real) {
    const T* k_row = row_of<T>(p.k, p.k_steps, at.batch, at.head, key);
    const T* v_row = row_of<T>(p.v, p.v_steps, at.batch, at.head, key);
    for (int c = lane; c < d; c += 32) {
      k[c] = read(k_row[c * p.k_steps.d]) * static_cast<W>(p.scale);
      v[c] = read(v_row[c * p.v_steps.d]);
    }
  }

  W k_sums[most_columns] = {};
  W v_sums[most_columns] = {};
  for (std::int64_t head = at.head * group; head < (at.head + 1) * group; ++head) {
    const T* const q = row_of<T>(p.q, p.q_steps, at.batch, head, 0);
    const T* const grad = row_of<T>(g.grad, g.grad_steps, at.batch, head, 0);
    const std::int64_t rows = (at.batch * p.heads + head) * p.m;
    for (std::int64_t query = 0; query < p.m; query += tile) {
      const std::int64_t last_query = query + tile < p.m ? query + tile - 1 : p.m - 1;
      const KeyRange all = visible_keys(p, first + query, first + last_query);
      if (all.end <= at.tile * warps || all.begin >= (at.tile + 1) * warps) continue;
      __syncthreads();
      load_tile(queries, q, p.q_steps, query, p.m, d);
      load_tile(grads, grad, g.grad_steps, query, p.m, d);
      __syncthreads();
      if (!real) continue;
      W weight = 0;
      W slope = 0;
      if (query + lane < p.m && visible_keys(p, first + query + lane).holds(key)) {
        W score = dot(k, queries + lane * (d + 1), d);
        if (p.mask) score = masked_score(p, score, at.batch, head, query + lane, key);
        const std::int64_t row = rows + query + lane;
        weight = exp(score - statistics.largest[row]) * statistics.inverse[row];
        slope = dot(v, grads + lane * (d + 1), d) - statistics.product[row];
      }
      const W of_score = weight == W(0) ? W(0) : weight * slope;
      for (int j = 0; j < tile; ++j) {
        const W w = __shfl_sync(0xffffffffu, weight, j);
        const W s = __shfl_sync(0xffffffffu, of_score, j);
#pragma unroll
        for (int i = 0; i < most_columns; ++i) {
          if (lane + i * 32 >= d) continue;
          v_sums[i] += w * grads[j * (d + 1) + lane + i * 32];
          k_sums[i] += s * queries[j * (d + 1) + lane + i * 32];
        }
      }
    }
  }
  if (!real) return;
  const std::int64_t row = row_at(g.k_gradient_steps, at.batch, at.head, key);
#pragma unroll
  for (int i = 0; i < most_columns; ++i) {
    if (lane + i * 32 >= d) continue;
    static_cast<T*>(g.k_gradient)[row + lane + i * 32] = written<T>(k_sums[i] * static_cast<W>(p.scale));
    static_cast<T*>(g.v_gradient)[row + lane + i * 32] = written<T>(v_sums[i]);
  }
}

template <typename P>
void launch(void (*kernel)(P), std::int64_t blocks, std::size_t shared, const P& problem,
            cudaStream_t stream) {
  launch_kernel(kernel, {static_cast<unsigned>(blocks), threads, shared}, stream, "attention", problem);
}

std::int64_t tiles_of(std::int64_t rows) { return (rows + warps - 1) / warps; }

}  // namespace

void launch_plain_attention(const AttentionProblem& p, cudaStream_t stream) {
  visit_float(p.dtype, [&]<typename T>() {
    const std::size_t numbers = static_cast<std::size_t>(warps * p.d + tile * (p.d + 1));
    launch(plain_attention<T>, p.batch * p.heads * tiles_of(p.m), numbers * sizeof(Wide<T>), p, stream);
  });
}

void launch_plain_attention_gradient(const AttentionGradientProblem& g, cudaStream_t stream) {
  const AttentionProblem& p = g.forward;
  visit_float(p.dtype, [&]<typename T>() {
    const std::size_t numbers = static_cast<std::size_t>(2 * (warps * p.d + tile * (p.d + 1)));
    const std::size_t shared = numbers * sizeof(Wide<T>);
    launch(plain_query_gradient<T>, p.batch * p.heads * tiles_of(p.m), shared, g, stream);
    launch(plain_key_gradient<T>, p.batch * p.kv_heads * tiles_of(p.n), shared, g, stream);
  });
  launch_rotation_back(g, stream);
}

}  // namespace wick::cuda
