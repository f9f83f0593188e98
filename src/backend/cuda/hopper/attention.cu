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

template <int Width, int Groups, int Stages>
struct Memory {
  HeadRows<Width> q;
  KeyTiles<Width, Stages> tiles[Groups];
  Barrier own;
  Barrier handed_over;
};

/// A block computes 64 queries of one head; its groups take turns at the keys.
template <int Width, int Groups, int Stages, int Blocks>
__global__ void __launch_bounds__(Groups* group_threads, Blocks)
    attend(const __grid_constant__ Maps maps, const AttentionProblem p) {
  begin_in_order();
  extern __shared__ unsigned char raw[];
  auto& memory = aligned_memory<Memory<Width, Groups, Stages>>(raw);
  const Group group;
  KeyTiles<Width, Stages>& tiles = memory.tiles[group.index];
  const int pair = group.thread % 4 * 2;
  const QueryTile tile(p, blockIdx.x, group);
  const ScoreScale scale(p.scale);

  if (threadIdx.x == 0) {
    memory.own.init(1);
    if constexpr (Groups > 1) memory.handed_over.init((Groups - 1) * group_threads);
    for (KeyTiles<Width, Stages>& of_group : memory.tiles)
      for (Barrier& full : of_group.full) full.init(1);
    fence_for_async();
    memory.own.arrive_expecting(HeadRows<Width>::bytes);
    memory.q.load(maps.q, tile.first_query, tile.at.head, tile.at.batch, memory.own);
    begin_tiles<Groups>(memory.tiles, maps.k, maps.v, tile);
  }
  __syncthreads();
  memory.own.wait(0);

  constexpr int step = Groups * tile_rows;
  float out[Width / 2] = {};
  SoftmaxRows softmax;
  Turn<Stages> turn;
  for (int key = tile.some.begin + group.index * tile_rows; key < tile.some.end; key += step) {
    const int stage = turn.stage;
    if (group.thread == 0) tiles.load(maps.k, maps.v, key + (Stages - 1) * step, tile, turn.last());
    tiles.full[stage].wait(turn.parity);
    if (key + tile_rows > tile.some.end) tiles.values[stage].clear(tile.some.end - key, group);
    float scores[32];
    begin_products();
    multiply_by_rows(scores, memory.q, tiles.keys[stage]);
    commit_products();
    wait_products<0>();

    scale.apply(scores);
    if (!tile.all.holds_tile(key)) {
#pragma unroll
      for (int i = 0; i < 32; ++i)
        if (!tile.own[i % 4 / 2].holds(key + i / 4 * 8 + pair + i % 2)) scores[i] = -INFINITY;
    }
    softmax.add(scores, scale.of_exponents, out);
    std::uint32_t left[4][4];
    round_left(left, scores);
    begin_products();
    multiply_by_columns(out, left, tiles.values[stage]);
    commit_products();
    wait_products<0>();
    group.sync();  // nobody reads the stage any more
    turn.next();
  }
  if constexpr (Groups > 1) {
    softmax.add_groups(out, group, memory.tiles, memory.handed_over);
    if (group.index > 0) return;
  }

#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const float sum = row_sum(softmax.total[h]);
    if (tile.query + 8 * h >= p.m) continue;
    store_row<Width>(static_cast<Bf16*>(p.out) + tile.row_in(p.out_steps, h), out, h,
                     sum == 0 ? 0.0f : 1 / sum, pair);
  }
}

template <int Width, int Groups, int Stages, int Blocks>
void launch(const AttentionProblem& p, std::int64_t blocks, cudaStream_t stream) {
  const Maps maps{map_of(p.q, p.q_steps, p.batch, p.heads, p.m, p.d),
                  map_of(p.k, p.k_steps, p.batch, p.kv_heads, p.n, p.d),
                  map_of(p.v, p.v_steps, p.batch, p.kv_heads, p.n, p.d)};
  constexpr std::size_t shared = sizeof(Memory<Width, Groups, Stages>) + 1024;
  static_assert(shared <= 227 * 1024);
  launch_kernel(attend<Width, Groups, Stages, Blocks>,
                {static_cast<unsigned>(blocks), Groups * group_threads, shared}, stream, "attention", maps,
                p);
}

}  // namespace

bool launch_hopper_attention(const AttentionProblem& p, cudaStream_t stream) {
  if (!takes(p)) return false;
  const std::int64_t blocks = p.batch * p.heads * ((p.m + tile_rows - 1) / tile_rows);
  const bool few = blocks <= multiprocessors();
  if (p.d == 64)
    few ? launch<64, 3, 3, 1>(p, blocks, stream) : launch<64, 1, 2, 4>(p, blocks, stream);
  else
    few ? launch<128, 3, 2, 1>(p, blocks, stream) : launch<128, 1, 2, 2>(p, blocks, stream);
  return true;
}

}  // namespace wick::cuda
