#include "backend/cuda/check.h"
#include "backend/cuda/hopper/attention.h"
#include "backend/cuda/hopper/attention_tiles.cuh"

// Attention as in attention_flash.cu, by products of 64 rows whose operands the copy engine brings. Several
// blocks on a multiprocessor hide each other's waits.
namespace wick::cuda {
namespace {

using namespace hopper;

struct Maps {
  CUtensorMap q, k, v;
};

template <int Width>
struct Memory {
  HeadRows<Width> q;
  HeadRows<Width> keys[2];
  HeadRows<Width> values[2];
  Barrier own;
  Barrier full[2];
};

/// A block computes 64 queries of one head.
template <int Width>
__global__ void __launch_bounds__(threads, Width == 64 ? 4 : 2)
    attend(const __grid_constant__ Maps maps, const AttentionProblem p) {
  extern __shared__ unsigned char raw[];
  auto& memory = aligned_memory<Memory<Width>>(raw);
  const int pair = static_cast<int>(threadIdx.x) % 4 * 2;
  const HeadTile at(blockIdx.x, p.batch, p.heads, (p.m + tile_rows - 1) / tile_rows);
  const std::int64_t kv_head = at.head / (p.heads / p.kv_heads);
  const std::int64_t block_first = at.tile * tile_rows;
  const std::int64_t block_last = block_first + tile_rows < p.m ? block_first + tile_rows - 1 : p.m - 1;
  const std::int64_t first = first_position(p);
  const std::int64_t query =
      block_first + static_cast<int>(threadIdx.x) / 32 * 16 + static_cast<int>(threadIdx.x) % 32 / 4;
  const Range all{keys_of(p, first, block_first).begin, keys_of(p, first, block_last).end};
  const Range common{keys_of(p, first, block_last).begin, keys_of(p, first, block_first).end};
  const Range seen[2] = {keys_of(p, first, query), keys_of(p, first, query + 8)};
  const float scale = static_cast<float>(p.scale) * log2_e;

  const auto load = [&](int key, int stage) {
    memory.full[stage].arrive_expecting(2 * HeadRows<Width>::bytes);
    memory.keys[stage].load(maps.k, key, kv_head, at.batch, memory.full[stage]);
    memory.values[stage].load(maps.v, key, kv_head, at.batch, memory.full[stage]);
  };
  if (threadIdx.x == 0) {
    memory.own.init(1);
    memory.full[0].init(1);
    memory.full[1].init(1);
    fence_for_async();
    memory.own.arrive_expecting(HeadRows<Width>::bytes);
    memory.q.load(maps.q, block_first, at.head, at.batch, memory.own);
    if (all.begin < all.end) load(all.begin, 0);
  }
  __syncthreads();
  memory.own.wait(0);

  float out[Width / 2] = {};
  float largest[2] = {-INFINITY, -INFINITY};
  float total[2] = {0, 0};
  int stage = 0;
  int parity = 0;
  for (int key = all.begin; key < all.end; key += tile_rows) {
    if (threadIdx.x == 0 && key + tile_rows < all.end) load(key + tile_rows, stage ^ 1);
    memory.full[stage].wait(parity);
    if (key + tile_rows > all.end) memory.values[stage].clear(all.end - key);
    float scores[32];
    begin_products();
    multiply_by_rows(scores, memory.q, memory.keys[stage]);
    commit_products();
    wait_products<0>();

#pragma unroll
    for (float& score : scores) score *= scale;
    if (!common.holds_tile(key)) {
#pragma unroll
      for (int i = 0; i < 32; ++i)
        if (!seen[i % 4 / 2].holds(key + i / 4 * 8 + pair + i % 2)) scores[i] = -INFINITY;
    }
    float correction[2];
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      float here = -INFINITY;
#pragma unroll
      for (int t = 0; t < 8; ++t) here = fmaxf(here, fmaxf(scores[t * 4 + 2 * h], scores[t * 4 + 2 * h + 1]));
      const float before = largest[h];
      largest[h] = fmaxf(before, row_max(here));
      const float shift = largest[h] == -INFINITY ? 0.0f : largest[h];
      correction[h] = power_of_2(before - shift);
      float sum = 0;
#pragma unroll
      for (int t = 0; t < 8; ++t)
#pragma unroll
        for (int i = t * 4 + 2 * h; i < t * 4 + 2 * h + 2; ++i) {
          scores[i] = power_of_2(scores[i] - shift);
          sum += scores[i];
        }
      total[h] = total[h] * correction[h] + sum;  // of this thread's keys
    }
    if (__any_sync(~0u, correction[0] != 1 || correction[1] != 1)) {
#pragma unroll
      for (int i = 0; i < Width / 2; ++i) out[i] *= correction[i % 4 / 2];
    }
    std::uint32_t left[4][4];
    round_left(left, scores);
    begin_products();
    multiply_by_columns(out, left, memory.values[stage]);
    commit_products();
    wait_products<0>();
    __syncthreads();  // nobody reads the stage any more
    stage ^= 1;
    if (stage == 0) parity ^= 1;
  }

#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const float sum = row_sum(total[h]);
    if (query + 8 * h >= p.m) continue;
    const std::int64_t row = (at.batch * p.heads + at.head) * p.m + query + 8 * h;
    store_row<Width>(static_cast<Bf16*>(p.out) + row * Width, out, h, sum == 0 ? 0.0f : 1 / sum, pair);
  }
}

template <int Width>
void launch_width(const AttentionProblem& p, cudaStream_t stream) {
  const Maps maps{map_of(p.q, p.q_steps, p.batch, p.heads, p.m, p.d),
                  map_of(p.k, p.k_steps, p.batch, p.kv_heads, p.n, p.d),
                  map_of(p.v, p.v_steps, p.batch, p.kv_heads, p.n, p.d)};
  constexpr int shared = sizeof(Memory<Width>) + 1024;
  check(cudaFuncSetAttribute(attend<Width>, cudaFuncAttributeMaxDynamicSharedMemorySize, shared),
        "asking for shared memory");
  const std::int64_t blocks = p.batch * p.heads * ((p.m + tile_rows - 1) / tile_rows);
  attend<Width><<<static_cast<unsigned>(blocks), threads, shared, stream>>>(maps, p);
  check_launch("attention");
}

}  // namespace

bool launch_hopper_attention(const AttentionProblem& p, cudaStream_t stream) {
  if (!takes(p)) return false;
  p.d == 64 ? launch_width<64>(p, stream) : launch_width<128>(p, stream);
  return true;
}

}  // namespace wick::cuda
