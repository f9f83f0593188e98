#pragma once

#include "backend/cuda/attention.cuh"
#include "backend/cuda/attention_tiles.cuh"
#include "backend/cuda/gpu.h"
#include "backend/cuda/hopper/instructions.cuh"
#include "backend/cuda/hopper/tensor_map.h"

// What attention and its gradient share on compute capability 9.0: tiles of 64 rows of one head that the copy
// engine brings, and products of 64 rows by a group of four warps. A block is one group, or several that take
// turns at the tiles where there are too few blocks to fill the GPU.
namespace wick::cuda::hopper {

constexpr int group_threads = 128;
constexpr int tile_rows = 64;
constexpr int block_bytes = tile_rows * 128;  // of 64 columns

/// Four warps of a block.
struct Group {
  __device__ Group()
      // The same for all threads of a warp, which the compiler must know of where products are issued.
      : index(__shfl_sync(~0u, static_cast<int>(threadIdx.x) / group_threads, 0)),
        thread(static_cast<int>(threadIdx.x) % group_threads) {}
  __device__ void sync() const { sync_threads(1 + index, group_threads); }
  /// Of the 64 rows of a tile the first of a thread's two; the other one is 8 below.
  __device__ int row() const { return thread / 32 * 16 + thread % 32 / 4; }

  int index;
  int thread;
};

/// What a thread leaves in its group's tiles, which nobody needs any more, for the same thread of the first
/// group.
struct HandedOver {
  template <typename Tiles>
  __device__ HandedOver(Tiles& tiles, const Group& group)
      : numbers(reinterpret_cast<float*>(&tiles) + group.thread) {}
  __device__ float& operator[](int i) const { return numbers[i * group_threads]; }
  float* numbers;
};

/// What a group works on of the stages that the copy engine fills, one after the other.
template <int Stages>
struct Turn {
  __device__ void next() {
    if (++stage < Stages) return;
    stage = 0;
    parity ^= 1;
  }
  /// The stage that is free once the turn before is over.
  __device__ int last() const { return stage == 0 ? Stages - 1 : stage - 1; }
  int stage = 0;
  int parity = 0;
};

/// 64 rows of one head, in blocks of 64 columns.
template <int Width>
struct alignas(1024) HeadRows {
  static constexpr int bytes = tile_rows * Width * 2;
  unsigned char data[bytes];

  /// One thread: starts the copy; rows that do not exist become zeros.
  __device__ void load(const CUtensorMap& map, std::int64_t row, std::int64_t head, std::int64_t batch,
                       Barrier& done) {
#pragma unroll
    for (int i = 0; i < Width / 64; ++i)
      load_box(data + i * block_bytes, map, i * 64, static_cast<int>(row), static_cast<int>(head),
               static_cast<int>(batch), done);
  }
  /// All threads of a group: rows from `row` on become zeros, whatever memory holds there.
  __device__ void clear(int row, const Group& group) {
#pragma unroll
    for (int block = 0; block < Width / 64; ++block)
      for (int i = row * 8 + group.thread; i < tile_rows * 8; i += group_threads)
        *reinterpret_cast<uint4*>(data + block * block_bytes + i * 16) = make_uint4(0, 0, 0, 0);
    fence_for_async();
    group.sync();
  }
  /// Columns [16 i, 16 i + 16) as what is summed over.
  __device__ std::uint64_t columns(int i) const { return operand(data + i / 4 * block_bytes, 0) + i % 4 * 2; }
  /// Rows [16 i, 16 i + 16) as what is summed over.
  __device__ std::uint64_t rows(int i) const { return operand(data, block_bytes) + i * 128; }
};

/// sums = left right^T
template <int Width>
__device__ inline void multiply_by_rows(float (&sums)[32], const HeadRows<Width>& left,
                                        const HeadRows<Width>& right) {
#pragma unroll
  for (int i = 0; i < Width / 16; ++i) multiply<64, false>(sums, left.columns(i), right.columns(i), i > 0);
}

/// sums += left right, the left one rounded.
template <int Width>
__device__ inline void multiply_by_columns(float (&sums)[Width / 2], const std::uint32_t (&left)[4][4],
                                           const HeadRows<Width>& right) {
#pragma unroll
  for (int i = 0; i < 4; ++i) multiply<Width, true>(sums, left[i], right.rows(i), 1);
}

__device__ inline void round_left(std::uint32_t (&to)[4][4], const float (&sums)[32]) {
#pragma unroll
  for (int i = 0; i < 4; ++i)
#pragma unroll
    for (int j = 0; j < 4; ++j) to[i][j] = pack<Bf16>(sums[i * 8 + j * 2], sums[i * 8 + j * 2 + 1]);
}

/// A thread's part of one of its two rows, times `scale`.
template <int Width, typename To>
__device__ inline void store_row(To* row, const float (&sums)[Width / 2], int h, float scale, int pair) {
#pragma unroll
  for (int t = 0; t < Width / 8; ++t) {
    const float x = sums[t * 4 + 2 * h] * scale;
    const float y = sums[t * 4 + 2 * h + 1] * scale;
    if constexpr (same_type<To, float>)
      *reinterpret_cast<float2*>(row + t * 8 + pair) = make_float2(x, y);
    else
      *reinterpret_cast<std::uint32_t*>(row + t * 8 + pair) = pack<Bf16>(x, y);
  }
}

/// 2^x; results below the smallest normal number are 0.
__device__ inline float power_of_2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

constexpr std::int64_t farthest = 1 << 30;  // rows are 32 bits wide here

__device__ inline int clamped(std::int64_t x) {
  return static_cast<int>(x < -farthest ? -farthest : x > farthest ? farthest : x);
}

/// Numbers [begin, end) of keys or queries.
struct Range {
  int begin;
  int end;
  __device__ bool holds(int i) const { return i >= begin && i < end; }
  __device__ bool holds_tile(int i) const { return i >= begin && i + tile_rows <= end; }
};

/// The keys that a query sees.
__device__ inline Range keys_of(const AttentionProblem& p, std::int64_t first, std::int64_t query) {
  const KeyRange seen = visible_keys(p, first + query);
  return {clamped(seen.begin), clamped(seen.end)};
}
/// The queries that see a key, which is one of p.n.
__device__ inline Range queries_of(const AttentionProblem& p, std::int64_t first, std::int64_t key) {
  const std::int64_t begin = p.causal && key > first ? key - first : 0;
  const std::int64_t end = p.window > 0 ? key + p.window - first : p.m;
  return {clamped(begin), clamped(end < p.m ? end : p.m)};
}

/// 64 queries of one head, and the keys that they see: some, all, and each of this thread's two.
struct QueryTile {
  __device__ QueryTile(const AttentionProblem& p, std::int64_t block, const Group& group)
      : at(block, p.batch, p.heads, (p.m + tile_rows - 1) / tile_rows),
        kv_head(narrow_quotient(at.head, narrow_quotient(p.heads, p.kv_heads))),
        first_query(at.tile * tile_rows),
        query(first_query + group.row()) {
    const std::int64_t last = first_query + tile_rows < p.m ? first_query + tile_rows - 1 : p.m - 1;
    const std::int64_t first = first_position(p);
    const Range of_first = keys_of(p, first, first_query);
    const Range of_last = keys_of(p, first, last);
    some = {of_first.begin, of_last.end};
    all = {of_last.begin, of_first.end};
    own[0] = keys_of(p, first, query);
    own[1] = keys_of(p, first, query + 8);
  }
  /// Where a row of this thread starts.
  __device__ std::int64_t row_in(const AttentionSteps& steps, int h) const {
    return row_at(steps, at.batch, at.head, query + 8 * h);
  }
  /// Place of a row of this thread in a row-major tensor [batch, heads, m].
  __device__ std::int64_t row(const AttentionProblem& p, int h) const {
    return (at.batch * p.heads + at.head) * p.m + query + 8 * h;
  }

  HeadTile at;
  std::int64_t kv_head;
  std::int64_t first_query;
  std::int64_t query;  ///< of this thread, and that + 8
  Range some;
  Range all;
  Range own[2];
};

/// Tiles of keys and values: one is worked on while others are on their way.
template <int Width, int Stages>
struct KeyTiles {
  HeadRows<Width> keys[Stages];
  HeadRows<Width> values[Stages];
  Barrier full[Stages];

  __device__ void load(const CUtensorMap& k, const CUtensorMap& v, int key, const QueryTile& tile,
                       int stage) {
    if (key >= tile.some.end) return;
    full[stage].arrive_expecting(2 * HeadRows<Width>::bytes);
    keys[stage].load(k, key, tile.kv_head, tile.at.batch, full[stage]);
    values[stage].load(v, key, tile.kv_head, tile.at.batch, full[stage]);
  }
};

/// The keys' tiles of a block, which its groups take in turns, on their way but for the last stage.
template <int Groups, int Width, int Stages>
__device__ void begin_tiles(KeyTiles<Width, Stages> (&tiles)[Groups], const CUtensorMap& k,
                            const CUtensorMap& v, const QueryTile& tile) {
#pragma unroll
  for (int stage = 0; stage < Stages - 1; ++stage)
#pragma unroll
    for (int group = 0; group < Groups; ++group)
      tiles[group].load(k, v, tile.some.begin + (stage * Groups + group) * tile_rows, tile, stage);
}

/// Products with a scale that becomes part of an exponent in units of log2: what is left to multiply with
/// where the largest is looked for.
struct ScoreScale {
  __device__ explicit ScoreScale(double scale) {
    const float all = static_cast<float>(scale) * log2_e;
    of_scores = all > 0 ? 1.0f : all;
    of_exponents = all > 0 ? all : 1.0f;
  }
  __device__ void apply(float (&scores)[32]) const {
    if (of_scores == 1.0f) return;
#pragma unroll
    for (float& score : scores) score *= of_scores;
  }
  float of_scores;  ///< 1, but for a scale that turns their order around
  float of_exponents;
};

/// Softmax over tiles of 64 keys of this thread's two rows, relative to the largest score so far.
struct SoftmaxRows {
  /// Scores, times `scale` in units of log2, become weights; `sums` of earlier weights follow the largest.
  template <int Sums>
  __device__ void add(float (&scores)[32], float scale, float (&sums)[Sums]) {
    float correction[2];
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      float here = -INFINITY;
#pragma unroll
      for (int t = 0; t < 8; ++t) here = fmaxf(here, fmaxf(scores[t * 4 + 2 * h], scores[t * 4 + 2 * h + 1]));
      const float before = largest[h];
      largest[h] = fmaxf(before, row_max(here) * scale);
      const float shift = largest[h] == -INFINITY ? 0.0f : largest[h];
      correction[h] = power_of_2(before - shift);
      float sum = 0;
#pragma unroll
      for (int t = 0; t < 8; ++t)
#pragma unroll
        for (int i = t * 4 + 2 * h; i < t * 4 + 2 * h + 2; ++i) {
          scores[i] = power_of_2(fmaf(scores[i], scale, -shift));
          sum += scores[i];
        }
      total[h] = total[h] * correction[h] + sum;
    }
    if (!__any_sync(~0u, correction[0] != 1 || correction[1] != 1)) return;
#pragma unroll
    for (int i = 0; i < Sums; ++i) sums[i] *= correction[i % 4 / 2];
  }

  /// The first group's rows and sums become those of all groups.
  template <int Groups, int Sums, typename Tiles>
  __device__ void add_groups(float (&sums)[Sums], const Group& group, Tiles (&tiles)[Groups],
                             Barrier& handed_over) {
    static_assert((Sums + 4) * sizeof(float) * group_threads <=
                  sizeof(tiles[0].keys) + sizeof(tiles[0].values));
    if (group.index > 0) {
      const HandedOver own(tiles[group.index], group);
#pragma unroll
      for (int i = 0; i < Sums; ++i) own[i] = sums[i];
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        own[Sums + h] = largest[h];
        own[Sums + 2 + h] = total[h];
      }
      return handed_over.arrive();
    }
    handed_over.wait(0);
#pragma unroll
    for (int from = 1; from < Groups; ++from) {
      const HandedOver others(tiles[from], group);
      float of_own[2];
      float of_others[2];
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const float before = largest[h];
        largest[h] = fmaxf(before, others[Sums + h]);
        const float shift = largest[h] == -INFINITY ? 0.0f : largest[h];
        of_own[h] = power_of_2(before - shift);
        of_others[h] = power_of_2(others[Sums + h] - shift);
        total[h] = total[h] * of_own[h] + others[Sums + 2 + h] * of_others[h];
      }
#pragma unroll
      for (int i = 0; i < Sums; ++i) sums[i] = sums[i] * of_own[i % 4 / 2] + others[i] * of_others[i % 4 / 2];
    }
  }

  float largest[2] = {-INFINITY, -INFINITY};
  float total[2] = {0, 0};  ///< of this thread's keys
};

template <typename Memory>
__device__ Memory& aligned_memory(unsigned char* raw) {
  return *reinterpret_cast<Memory*>(raw + (1024 - shared_address(raw) % 1024) % 1024);
}

inline CUtensorMap map_of(const void* data, const AttentionSteps& steps, std::int64_t batch,
                          std::int64_t heads, std::int64_t rows, std::int64_t d) {
  // A dimension of one element may have any distance.
  const auto step = [&](std::int64_t size, std::int64_t wanted) { return size == 1 ? d : wanted; };
  return tensor_map(BoxedHeads{data, batch, heads, rows, d, step(batch, steps.batch), step(heads, steps.head),
                               step(rows, steps.position), tile_rows});
}

/// Whether the copy engine can read it.
inline bool is_boxed(const void* data, const AttentionSteps& steps, std::int64_t batch, std::int64_t heads,
                     std::int64_t rows) {
  const auto fits = [](std::int64_t size, std::int64_t step) {
    return size == 1 || (step > 0 && step % 8 == 0);
  };
  return reinterpret_cast<std::uintptr_t>(data) % 16 == 0 && steps.d == 1 && fits(batch, steps.batch) &&
         fits(heads, steps.head) && fits(rows, steps.position);
}

/// Whether the kernels here take the forward problem.
inline bool takes(const AttentionProblem& p) {
  return compute_capability() == 90 && p.dtype == DType::bf16 && !p.mask && (p.d == 64 || p.d == 128) &&
         p.m < farthest && p.n < farthest && is_boxed(p.q, p.q_steps, p.batch, p.heads, p.m) &&
         is_boxed(p.k, p.k_steps, p.batch, p.kv_heads, p.n) &&
         is_boxed(p.v, p.v_steps, p.batch, p.kv_heads, p.n);
}

}  // namespace wick::cuda::hopper
