#include <algorithm>

#include "backend/cuda/append_attention.h"
#include "backend/cuda/attention_decode.cuh"
#include "backend/cuda/dependent_launch.cuh"
#include "backend/cuda/dispatch.cuh"
#include "backend/cuda/gpu.h"

// One generated position: rotation of its query and key, their place in the cache, and attention, in one
// kernel. A cluster of blocks takes a key head; its blocks take turns at the keys.
namespace wick::cuda {
namespace {

constexpr int warps = 8;
constexpr int threads = warps * 32;
constexpr int block_keys = warps * step_keys;

template <int Width>
struct Shared {
  WarpParts<warps, Width> of_warps;
  float largest[16];  // of the block
  float total[16];
  float values[16][Width];
  std::uint16_t q[16][Width + 8];
  std::uint16_t k[Width];
  std::uint16_t v[Width];
};

/// The new position of a head: queries and key rotated into shared memory, the value beside them.
template <typename T, int Width>
__device__ void gather(const AppendedAttention& p, Shared<Width>& shared, std::int64_t batch,
                       std::int64_t kv_head) {
  const AttentionProblem& a = p.attention;
  const int half = static_cast<int>(a.d) / 2;
  const int queries = static_cast<int>(a.heads / a.kv_heads);
  for (int i = static_cast<int>(threadIdx.x); i < (queries + 2) * half; i += threads) {
    const int row = i / half;
    const int j = i % half;
    const bool is_query = row < queries;
    const bool is_key = row == queries;
    const AttentionSteps& steps = is_query ? a.q_steps : is_key ? p.k_steps : p.v_steps;
    const T* const from = row_of<T>(is_query ? a.q
                                    : is_key ? p.k
                                             : p.v,
                                    steps, batch, is_query ? kv_head * queries + row : kv_head, 0);
    const T x1 = from[j * steps.d];
    const T x2 = from[(j + half) * steps.d];
    auto* const to = reinterpret_cast<T*>(is_query ? shared.q[row] : is_key ? shared.k : shared.v);
    if (!is_query && !is_key) {
      to[j] = x1;
      to[j + half] = x2;
      continue;
    }
    const float cos = p.cos[batch * p.cos_steps.batch + j * p.cos_steps.pair];
    const float sin = p.sin[batch * p.sin_steps.batch + j * p.sin_steps.pair];
    to[j] = written<T>(read(x1) * cos - read(x2) * sin);
    to[j + half] = written<T>(read(x2) * cos + read(x1) * sin);
  }
}

template <typename T, int Width>
__global__ void __launch_bounds__(threads)
    append_and_attend(const __grid_constant__ AppendedAttention p, const int cluster) {
  extern __shared__ __align__(16) unsigned char dynamic[];
  auto& shared = *reinterpret_cast<Shared<Width>*>(dynamic);
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
  wait_for_kernels_ahead();

  const std::int64_t position = first_position(a);
  const std::int64_t place = position < 0 ? 0 : position >= a.n ? a.n - 1 : position;
  const KeyRange visible = visible_keys(a, position);
  gather<T>(p, shared, batch, kv_head);
  __syncthreads();
  T* const k = static_cast<T*>(p.k_cache) + list * a.n * a.d;
  T* const v = static_cast<T*>(p.v_cache) + list * a.n * a.d;
  const auto* const new_k = reinterpret_cast<const T*>(shared.k);
  const auto* const new_v = reinterpret_cast<const T*>(shared.v);
  if (rank == 0 && threadIdx.x < a.d) {  // nobody reads it there before the next kernel
    k[place * a.d + threadIdx.x] = new_k[threadIdx.x];
    v[place * a.d + threadIdx.x] = new_v[threadIdx.x];
  }

  WarpAttention<T, Width> seen;
#pragma unroll
  for (int h = 0; h < 2; ++h)
#pragma unroll
    for (int c = 0; c < seen.pieces; ++c) {
      const int column = c * 32 + quarter * 8;
      seen.q[h][c] = load_if(group + 8 * h < queries && column < a.d, shared.q[group + 8 * h] + column);
    }
  const std::int64_t first = visible.begin / block_keys * block_keys + rank * block_keys + warp * step_keys;
  for (std::int64_t key = first; key < visible.end; key += cluster * block_keys) {
    const auto load = [&](const T* cache, const T* appended, int j, int column) {
      const T* const from = key + j == place ? appended : cache + (key + j) * a.d;
      return load_if(visible.holds(key + j) && column < a.d, from + column);
    };
    seen.see([&](int j, int column) { return load(k, new_k, j, column); },
             [&](int j, int column) { return load(v, new_v, j, column); },
             [&](int h, int j, float product) {
               return group + 8 * h < queries && visible.holds(key + j)
                          ? log2_score<false>(a, product, batch, 0, 0, key + j)
                          : -INFINITY;
             });
  }

  shared.of_warps.store(warp, seen);
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < queries * Width; i += threads) {
    const RowPart part = shared.of_warps.combined(i / Width, i % Width);
    shared.values[i / Width][i % Width] = part.value;
    if (i % Width != 0) continue;
    shared.largest[i / Width] = part.largest;
    shared.total[i / Width] = part.total;
  }
  meet_cluster();
  for (int i = static_cast<int>(threadIdx.x); i < queries * Width; i += threads) {
    const int row = i / Width * cluster + rank;  // the blocks take turns at the rows
    const int column = i % Width;
    if (row >= queries) break;
    if (column >= a.d) continue;
    const RowPart sum = sum_of_parts(cluster, [&](int c) -> RowPart {
      return {read_of_rank(&shared.largest[row], c), read_of_rank(&shared.total[row], c),
              read_of_rank(&shared.values[row][column], c)};
    });
    static_cast<T*>(a.out)[(batch * a.heads + kv_head * queries + row) * a.d + column] =
        written<T>(sum.total == 0 ? 0.0f : sum.value / sum.total);
  }
  meet_cluster();  // nobody leaves while others read its parts
}

template <typename T, int Width>
void launch(const AppendedAttention& p, cudaStream_t stream) {
  const AttentionProblem& a = p.attention;
  const auto lists = static_cast<int>(a.batch * a.kv_heads);
  const auto steps = static_cast<int>(std::min<std::int64_t>(8, (a.n + block_keys - 1) / block_keys));
  const int cluster = std::clamp(2 * multiprocessors() / lists, 1, steps);
  launch_dependent(append_and_attend<T, Width>,
                   {.blocks = static_cast<unsigned>(lists * cluster),
                    .threads = threads,
                    .shared = sizeof(Shared<Width>),
                    .cluster = static_cast<unsigned>(cluster),
                    .stream = stream},
                   "attention of one position", p, cluster);
}

}  // namespace

void launch_appended_attention(const AppendedAttention& p, cudaStream_t stream) {
  visit_half(p.attention.dtype, [&]<typename T>() {
    if (p.attention.d <= 64)
      launch<T, 64>(p, stream);
    else
      launch<T, 128>(p, stream);
  });
}

}  // namespace wick::cuda
