#pragma once

#include <cmath>

#include "backend/cuda/attention_problem.h"
#include "backend/cuda/device/numbers.cuh"

// What the attention kernels share: which keys a query sees, and masks.
namespace wick::cuda {

/// Position of query 0.
__device__ inline std::int64_t first_position(const AttentionProblem& p) {
  // Beyond this no key is visible, or all are; the bound keeps sums of positions from overflowing.
  constexpr long long farthest = 1ll << 48;
  if (!p.offset) return p.n - p.m;
  const long long offset = *p.offset;
  return offset < -farthest ? -farthest : offset > farthest ? farthest : offset;
}

/// Keys [begin, end).
struct KeyRange {
  std::int64_t begin;
  std::int64_t end;
  __device__ bool holds(std::int64_t key) const { return key >= begin && key < end; }
};

/// Those that the query at `position` may see. Both ends grow with the position.
__device__ inline KeyRange visible_keys(const AttentionProblem& p, std::int64_t position) {
  std::int64_t begin = p.window > 0 ? position - p.window + 1 : 0;
  begin = begin < 0 ? 0 : begin > p.n ? p.n : begin;
  std::int64_t end = p.causal && position + 1 < p.n ? position + 1 : p.n;
  return {begin, end < begin ? begin : end};
}
/// Those that some query of positions [first, last] may see, and a little more when a window leaves gaps.
__device__ inline KeyRange visible_keys(const AttentionProblem& p, std::int64_t first, std::int64_t last) {
  const KeyRange of_first = visible_keys(p, first);
  const KeyRange of_last = visible_keys(p, last);
  return {of_first.begin, of_last.end};
}

/// A score under the mask: -inf where that is false, or with its number added.
template <typename W>
__device__ inline W masked_score(const AttentionProblem& p, W score, std::int64_t batch, std::int64_t head,
                                 std::int64_t query, std::int64_t key) {
  const std::int64_t at = batch * p.mask_steps.batch + head * p.mask_steps.head +
                          query * p.mask_steps.position + key * p.mask_steps.d;
  switch (p.mask_dtype) {
    case DType::bool_: return read(static_cast<const Bool*>(p.mask)[at]) ? score : W(-INFINITY);
    case DType::bf16: return score + read(static_cast<const Bf16*>(p.mask)[at]);
    case DType::f16: return score + read(static_cast<const F16*>(p.mask)[at]);
    case DType::f64: return score + static_cast<W>(static_cast<const double*>(p.mask)[at]);
    default: return score + static_cast<const float*>(p.mask)[at];
  }
}

inline constexpr float log2_e = 1.4426950408889634f;

/// A score in units of log2, under the mask if there is one.
template <bool masked>
__device__ inline float log2_score(const AttentionProblem& p, float product, std::int64_t batch,
                                   std::int64_t head, std::int64_t query, std::int64_t key) {
  const float score = product * static_cast<float>(p.scale);
  if constexpr (!masked) {
    return score * log2_e;
  } else {
    const float full = masked_score(p, score, batch, head, query, key);
    const float scaled = full * log2_e;
    // Masks of the lowest number must not become -inf.
    return scaled == -INFINITY && full != -INFINITY ? -3.402823466e38f : scaled;
  }
}

template <typename W>
__device__ inline W warp_sum(W x) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffffu, x, step);
  return x;
}
template <typename W>
__device__ inline W warp_max(W x) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) {
    const W other = __shfl_xor_sync(0xffffffffu, x, step);
    x = other > x ? other : x;
  }
  return x;
}

/// Over the four threads that hold a row of a SumTile.
__device__ inline float row_max(float x) {
  x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 1));
  return fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 2));
}
__device__ inline float row_sum(float x) {
  x += __shfl_xor_sync(0xffffffffu, x, 1);
  return x + __shfl_xor_sync(0xffffffffu, x, 2);
}

/// What a row of keys, a query, ... of one head starts at.
template <typename T>
__device__ inline const T* row_of(const void* data, const AttentionSteps& steps, std::int64_t batch,
                                  std::int64_t head, std::int64_t position) {
  return static_cast<const T*>(data) + batch * steps.batch + head * steps.head + position * steps.position;
}

/// Where a row of a result of one head starts.
__device__ inline std::int64_t row_at(const AttentionSteps& steps, std::int64_t batch, std::int64_t head,
                                      std::int64_t position) {
  return batch * steps.batch + head * steps.head + position * steps.position;
}

/// A pair of elements of a row, `half of d` apart, as it was before it was rotated.
__device__ inline void rotate_back(const AttentionGradientProblem& g, std::int64_t batch,
                                   std::int64_t position, int pair, float& x1, float& x2) {
  const float c = g.cos.data[batch * g.cos.batch + position * g.cos.position + pair * g.cos.d];
  const float s = g.sin.data[batch * g.sin.batch + position * g.sin.position + pair * g.sin.d];
  const float y = x1 * c + x2 * s;
  x2 = x2 * c - x1 * s;
  x1 = y;
}

/// What the gradients of k and v need of each query, [batch, heads, m] each: the largest score (0 where
/// nothing is visible), 1 over the sum of the weights relative to it (0 there), and output . its gradient.
template <typename W>
struct RowStatistics {
  W* largest;
  W* inverse;
  W* product;
  __device__ explicit RowStatistics(const AttentionGradientProblem& g) {
    const std::int64_t rows = g.forward.batch * g.forward.heads * g.forward.m;
    largest = static_cast<W*>(g.statistics);
    inverse = largest + rows;
    product = inverse + rows;
  }
  __device__ void set(std::int64_t row, W most, W total, W of_output) const {
    largest[row] = total == W(0) ? W(0) : most;
    inverse[row] = total == W(0) ? W(0) : W(1) / total;
    product[row] = of_output;
  }
};

/// Numbers of 32 bits, as those of blocks are, are divided in a fraction of the time of wider ones.
__device__ inline unsigned narrow_quotient(std::int64_t a, std::int64_t b) {
  return static_cast<unsigned>(a) / static_cast<unsigned>(b);
}

/// Which tile of which head a block is of; later tiles come first, because they see more keys.
struct HeadTile {
  std::int64_t batch, head, tile;
  __device__ HeadTile(unsigned block, std::int64_t batches, std::int64_t heads, std::int64_t tiles) {
    const unsigned row = narrow_quotient(block, heads);
    head = block - row * static_cast<unsigned>(heads);
    const unsigned behind = narrow_quotient(row, batches);
    batch = row - behind * static_cast<unsigned>(batches);
    tile = tiles - 1 - behind;
  }
};

}  // namespace wick::cuda
