#include "backend/cuda/device/launch_order.cuh"
#include "backend/cuda/hopper/attention.h"
#include "backend/cuda/hopper/attention_tiles.cuh"
#include "backend/cuda/launch_kernel.h"

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
  KeyTiles<Width> tiles;
  Barrier own;
};

/// A block computes 64 queries of one head.
template <int Width>
__global__ void __launch_bounds__(threads, Width == 64 ? 4 : 2)
    attend(const __grid_constant__ Maps maps, const AttentionProblem p) {
  begin_in_order();
  extern __shared__ unsigned char raw[];
  auto& memory = aligned_memory<Memory<Width>>(raw);
  KeyTiles<Width>& tiles = memory.tiles;
  const int pair = static_cast<int>(threadIdx.x) % 4 * 2;
  const QueryTile tile(p, blockIdx.x);
  const float scale = static_cast<float>(p.scale) * log2_e;

  if (threadIdx.x == 0) {
    memory.own.init(1);
    tiles.full[0].init(1);
    tiles.full[1].init(1);
    fence_for_async();
    memory.own.arrive_expecting(HeadRows<Width>::bytes);
    memory.q.load(maps.q, tile.first_query, tile.at.head, tile.at.batch, memory.own);
    if (tile.some.begin < tile.some.end) tiles.load(maps.k, maps.v, tile.some.begin, tile, 0);
  }
  __syncthreads();
  memory.own.wait(0);

  float out[Width / 2] = {};
  SoftmaxRows softmax;
  int stage = 0;
  int parity = 0;
  for (int key = tile.some.begin; key < tile.some.end; key += tile_rows) {
    if (threadIdx.x == 0 && key + tile_rows < tile.some.end)
      tiles.load(maps.k, maps.v, key + tile_rows, tile, stage ^ 1);
    tiles.full[stage].wait(parity);
    if (key + tile_rows > tile.some.end) tiles.values[stage].clear(tile.some.end - key);
    float scores[32];
    begin_products();
    multiply_by_rows(scores, memory.q, tiles.keys[stage]);
    commit_products();
    wait_products<0>();

#pragma unroll
    for (float& score : scores) score *= scale;
    if (!tile.all.holds_tile(key)) {
#pragma unroll
      for (int i = 0; i < 32; ++i)
        if (!tile.own[i % 4 / 2].holds(key + i / 4 * 8 + pair + i % 2)) scores[i] = -INFINITY;
    }
    softmax.add(scores, out);
    std::uint32_t left[4][4];
    round_left(left, scores);
    begin_products();
    multiply_by_columns(out, left, tiles.values[stage]);
    commit_products();
    wait_products<0>();
    __syncthreads();  // nobody reads the stage any more
    stage ^= 1;
    if (stage == 0) parity ^= 1;
  }

#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const float sum = row_sum(softmax.total[h]);
    if (tile.query + 8 * h >= p.m) continue;
    store_row<Width>(static_cast<Bf16*>(p.out) + tile.row(p, h) * Width, out, h, sum == 0 ? 0.0f : 1 / sum,
                     pair);
  }
}

template <int Width>
void launch_width(const AttentionProblem& p, cudaStream_t stream) {
  const Maps maps{map_of(p.q, p.q_steps, p.batch, p.heads, p.m, p.d),
                  map_of(p.k, p.k_steps, p.batch, p.kv_heads, p.n, p.d),
                  map_of(p.v, p.v_steps, p.batch, p.kv_heads, p.n, p.d)};
  constexpr std::size_t shared = sizeof(Memory<Width>) + 1024;
  const std::int64_t blocks = p.batch * p.heads * ((p.m + tile_rows - 1) / tile_rows);
  launch_kernel(attend<Width>, {static_cast<unsigned>(blocks), threads, shared}, stream, "attention", maps,
                p);
}

}  // namespace

bool launch_hopper_attention(const AttentionProblem& p, cudaStream_t stream) {
  if (!takes(p)) return false;
  p.d == 64 ? launch_width<64>(p, stream) : launch_width<128>(p, stream);
  return true;
}

}  // namespace wick::cuda
