#include <algorithm>

#include "backend/cuda/append_attention.h"
#include "backend/cuda/attention_decode.cuh"
#include "backend/cuda/cluster.cuh"
#include "backend/cuda/device/launch_order.cuh"
#include "backend/cuda/dispatch.cuh"
#include "backend/cuda/launch_kernel.h"

// One generated position: rotation of its query and key, their place in the cache, and attention, in one
// kernel. A cluster of blocks takes a key head; its blocks take turns at the keys.
namespace wick::cuda {
namespace {

/// Few warps where each holds much in registers.
template <int Width>
struct Block {
  static constexpr int warps = Width > 64 ? 4 : 8;
  static constexpr int threads = warps * 32;
  static constexpr int keys = warps * step_keys;
  static constexpr int on_multiprocessor = Width > 64 ? 3 : 2;
};

template <int Width, int Groups>
struct Shared {
  static constexpr int rows = 8 * Groups;
  static constexpr int parts = rows + most_cluster_blocks - 1;
  WarpParts<Block<Width>::warps, Width, Groups> of_warps;
  // Of the rows that this block ends, the parts of all blocks of the cluster one behind the other.
  float largest[parts];
  float total[parts];
  float values[parts][Width];
  alignas(16) std::uint16_t q[rows][Width + 8];
  alignas(16) std::uint16_t k[Width];
  alignas(16) std::uint16_t v[Width];
};

/// The new position of a head: queries and key rotated into shared memory, the value beside them. Warps take
/// turns at the rows.
template <typename T, int Width, int Groups>
__device__ void gather(const AppendedAttention& p, Shared<Width, Groups>& shared, std::int64_t batch,
                       std::int64_t kv_head) {
  const AttentionProblem& a = p.attention;
  const int half = static_cast<int>(a.d) / 2;
  const int queries = static_cast<int>(a.heads / a.kv_heads);
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll 1
  for (int row = static_cast<int>(threadIdx.x) / 32; row < queries + 2; row += Block<Width>::warps) {
    const bool is_query = row < queries;
    const bool is_key = row == queries;
    const AttentionSteps& steps = is_query ? a.q_steps : is_key ? p.k_steps : p.v_steps;
    const T* const from = row_of<T>(is_query ? a.q
                                    : is_key ? p.k
                                             : p.v,
                                    steps, batch, is_query ? kv_head * queries + row : kv_head, 0);
    auto* const to = reinterpret_cast<T*>(is_query ? shared.q[row] : is_key ? shared.k : shared.v);
#pragma unroll 1
    for (int j = lane; j < half; j += 32) {
      const T x1 = from[j * steps.d];
      const T x2 = from[(j + half) * steps.d];
      const float cos = p.cos[batch * p.cos_steps.batch + j * p.cos_steps.pair];
      const float sin = p.sin[batch * p.sin_steps.batch + j * p.sin_steps.pair];
      const bool turns = is_query || is_key;
      to[j] = turns ? written<T>(read(x1) * cos - read(x2) * sin) : x1;
      to[j + half] = turns ? written<T>(read(x2) * cos + read(x1) * sin) : x2;
    }
  }
}

/// Asks for the first keys and values of a block while the kernels ahead run.
template <typename T, int Width>
__device__ void prefetch(const AppendedAttention& p, std::int64_t list, int first, int end) {
  constexpr int threads = Block<Width>::threads;
  const AttentionProblem& a = p.attention;
  const int row_bytes = static_cast<int>(a.d * static_cast<std::int64_t>(sizeof(T)));
  const int keys = min(end - first, Block<Width>::keys);
  const std::int64_t begin = (list * a.n + first) * row_bytes;
#pragma unroll 1
  for (int i = static_cast<int>(threadIdx.x) * 128; i < keys * row_bytes; i += threads * 128)
    for (const void* cache : {p.k_cache, p.v_cache})
      asm volatile("prefetch.global.L2 [%0];" ::"l"(static_cast<const char*>(cache) + begin + i));
}

/// What a position that is in the cache makes of it: where it goes, and the keys [begin, end) that it sees.
struct Sight {
  int place;
  int begin;
  int end;
  __device__ Sight(const AttentionProblem& a, std::int64_t position) {
    const KeyRange visible = visible_keys(a, position);
    begin = static_cast<int>(visible.begin);
    end = static_cast<int>(visible.end);
    place = static_cast<int>(position < 0 ? 0 : position >= a.n ? a.n - 1 : position);
  }
  __device__ bool operator!=(const Sight& other) const {
    return place != other.place || begin != other.begin || end != other.end;
  }
};

template <typename T, int Width, int Groups>
__global__ void __launch_bounds__(Block<Width>::threads, Block<Width>::on_multiprocessor)
    append_and_attend(const __grid_constant__ AppendedAttention p, const int cluster) {
  constexpr int threads = Block<Width>::threads;
  constexpr int block_keys = Block<Width>::keys;
  extern __shared__ __align__(16) unsigned char dynamic[];
  auto& shared = *reinterpret_cast<Shared<Width, Groups>*>(dynamic);
  let_next_begin();
  const AttentionProblem& a = p.attention;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int group = static_cast<int>(threadIdx.x) % 32 / 4;
  const int quarter = static_cast<int>(threadIdx.x) % 4;
  const int rank = static_cast<int>(blockIdx.x) % cluster;
  const std::int64_t list = blockIdx.x / cluster;
  const std::int64_t batch = list / a.kv_heads;
  const std::int64_t kv_head = list % a.kv_heads;
  const int queries = static_cast<int>(a.heads / a.kv_heads);
  const auto d = static_cast<int>(a.d);
  T* const k = static_cast<T*>(p.k_cache) + list * a.n * a.d;
  T* const v = static_cast<T*>(p.v_cache) + list * a.n * a.d;
  arrive_at_cluster();
  const auto first_key = [&](const Sight& sight) {
    return sight.begin / block_keys * block_keys + rank * block_keys;
  };
  const Sight guessed(a, __ldcg(a.offset));  // it may still be written
  prefetch<T, Width>(p, list, first_key(guessed), guessed.end);
  wait_for_kernels_ahead();

  const auto load_keys = [&](HeldKeys<Width>& to, int key, const Sight& sight) {
    const auto load = [&](const T* cache, int j, int column) {
      return load_if(j >= sight.begin && j < sight.end && j != sight.place && column < d,
                     cache + j * d + column);
    };
    to.each([&](int j, int column, uint4& part) { part = load(k, key + j, column); },
            [&](int j, int column, uint4& part) { part = load(v, key + j, column); });
  };
  // The next keys are on their way while the new position is made, and while these are worked on; not where a
  // thread has no registers for that.
  constexpr bool ahead = Width <= 64;
  const std::int64_t position = first_position(a);
  HeldKeys<Width> next_keys;
  const auto own_key = [&](const Sight& sight) { return first_key(sight) + warp * step_keys; };
  if (ahead && own_key(guessed) < guessed.end) load_keys(next_keys, own_key(guessed), guessed);
  gather<T>(p, shared, batch, kv_head);
  const Sight sight(a, position);
  int key = own_key(sight);
  if (ahead && key < sight.end && sight != guessed) load_keys(next_keys, key, sight);
  __syncthreads();
  const auto* const new_k = reinterpret_cast<const T*>(shared.k);
  const auto* const new_v = reinterpret_cast<const T*>(shared.v);
  if (rank == 0)  // nobody reads it there before the next kernel
#pragma unroll 1
    for (int i = static_cast<int>(threadIdx.x); i < d; i += threads) {
      k[sight.place * d + i] = new_k[i];
      v[sight.place * d + i] = new_v[i];
    }

  WarpAttention<T, Width, Groups> seen;
#pragma unroll
  for (int h = 0; h < Groups; ++h)
#pragma unroll
    for (int c = 0; c < seen.pieces; ++c) {
      const int column = c * 32 + quarter * 8;
      seen.q[h][c] = load_if(group + 8 * h < queries && column < d, shared.q[group + 8 * h] + column);
    }
  const auto scale = static_cast<float>(a.scale) * log2_e;
#pragma unroll 1
  for (; key < sight.end; key += cluster * block_keys) {
    HeldKeys<Width> keys;
    if constexpr (ahead) {
      keys = next_keys;
      if (key + cluster * block_keys < sight.end) load_keys(next_keys, key + cluster * block_keys, sight);
      const int appended = sight.place - key;
      if (appended >= 0 && appended < step_keys)
        keys.each(
            [&](int j, int column, uint4& part) {
              if (j == appended) part = load_if(column < d, new_k + column);
            },
            [&](int j, int column, uint4& part) {
              if (j == appended) part = load_if(column < d, new_v + column);
            });
    } else {
      const auto load = [&](const T* cache, const T* appended, int j, int column) {
        const T* const from = j == sight.place ? appended : cache + j * d;
        return load_if(j >= sight.begin && j < sight.end && column < d, from + column);
      };
      keys.each([&](int j, int column, uint4& part) { part = load(k, new_k, key + j, column); },
                [&](int j, int column, uint4& part) { part = load(v, new_v, key + j, column); });
    }
    seen.see(keys, [&](int h, int j, float product) {
      return group + 8 * h < queries && key + j >= sight.begin && key + j < sight.end ? product * scale
                                                                                      : -INFINITY;
    });
  }

  // Blocks end the rows in turns: each gives its part to the one that does.
  shared.of_warps.store(warp, seen);
  __syncthreads();
  wait_for_cluster();  // all blocks have begun
#pragma unroll 1
  for (int i = static_cast<int>(threadIdx.x); i < queries * Width; i += threads) {
    const int row = i / Width;
    const int column = i % Width;
    const RowPart part = shared.of_warps.combined(row, column);
    const int to = row / cluster * cluster + rank;
    write_of_block(&shared.values[to][column], row % cluster, part.value);
    if (column != 0) continue;
    write_of_block(&shared.largest[to], row % cluster, part.largest);
    write_of_block(&shared.total[to], row % cluster, part.total);
  }
  sync_cluster();
#pragma unroll 1
  for (int i = static_cast<int>(threadIdx.x); i < queries * Width; i += threads) {
    const int row = i / Width * cluster + rank;
    const int column = i % Width;
    if (row >= queries) break;
    if (column >= d) continue;
    const RowPart sum = sum_of_parts<most_cluster_blocks>(cluster, [&](int c) -> RowPart {
      const int from = i / Width * cluster + c;
      return {shared.largest[from], shared.total[from], shared.values[from][column]};
    });
    static_cast<T*>(a.out)[(batch * a.heads + kv_head * queries + row) * a.d + column] =
        written<T>(sum.total == 0 ? 0.0f : sum.value / sum.total);
  }
}

/// The blocks of a list split the keys as far as all clusters run at once.
template <typename T, int Width, int Groups>
void launch(const AppendedAttention& p, cudaStream_t stream) {
  const auto lists = static_cast<unsigned>(p.attention.batch * p.attention.kv_heads);
  const std::int64_t steps = (p.attention.n + Block<Width>::keys - 1) / Block<Width>::keys;
  Grid grid{.blocks = {},
            .threads = Block<Width>::threads,
            .shared = sizeof(Shared<Width, Groups>),
            .cluster = static_cast<unsigned>(std::min<std::int64_t>(most_cluster_blocks, steps)),
            .hands_over = true};
  while (grid.cluster > 1 && most_clusters(append_and_attend<T, Width, Groups>, grid) < lists) --grid.cluster;
  grid.blocks = lists * grid.cluster;
  launch_kernel(append_and_attend<T, Width, Groups>, grid, stream, "attention of one position", p,
                static_cast<int>(grid.cluster));
}

}  // namespace

void launch_appended_attention(const AppendedAttention& p, cudaStream_t stream) {
  const bool few = p.attention.heads <= 8 * p.attention.kv_heads;
  visit_half(p.attention.dtype, [&]<typename T>() {
    if (p.attention.d <= 64)
      few ? launch<T, 64, 1>(p, stream) : launch<T, 64, 2>(p, stream);
    else
      few ? launch<T, 128, 1>(p, stream) : launch<T, 128, 2>(p, stream);
  });
}

}  // namespace wick::cuda
