#include <algorithm>

#include "backend/cuda/device/launch_order.cuh"
#include "backend/cuda/hopper/attention_cluster.cuh"
#include "backend/cuda/hopper/attention_gradient.h"
#include "backend/cuda/hopper/attention_tiles.cuh"
#include "backend/cuda/launch_kernel.h"

// The gradient of attention as in attention_flash_gradient.cu, by products of 64 rows whose operands the copy
// engine brings. Several blocks on a multiprocessor hide each other's waits.
namespace wick::cuda {
namespace {

using namespace hopper;

struct Maps {
  CUtensorMap q, k, v, out, grad;
};

template <int Width, int Groups, int Stages>
struct QueryMemory {
  HeadRows<Width> q;
  HeadRows<Width> grad;
  KeyTiles<Width, Stages> tiles[Groups];
  float product[tile_rows];
  Barrier own;
  Barrier handed_over;
};

/// Sums of output . its gradient of 64 rows, by two threads of a group each.
template <int Width>
__device__ inline void multiply_rows(float (&sums)[tile_rows], const HeadRows<Width>& out,
                                     const HeadRows<Width>& grad, const Group& group) {
  constexpr int line_bytes = 128;
  constexpr int pieces = 4;  // of half a line, in which rows that are read together are in different banks
  const int row = group.thread / 2;
  const int half = group.thread % 2 * pieces;
  float sum = 0;
#pragma unroll
  for (int block = 0; block < Width / 64; ++block)
#pragma unroll
    for (int i = 0; i < pieces; ++i) {
      const int at = block * block_bytes + row * line_bytes + (half + (i + row) % pieces) * 16;
      const auto a = *reinterpret_cast<const uint4*>(out.data + at);
      const auto b = *reinterpret_cast<const uint4*>(grad.data + at);
      const auto add = [&](std::uint32_t x, std::uint32_t y) {
        const float2 of_out = unpack<Bf16>(x);
        const float2 of_grad = unpack<Bf16>(y);
        sum += of_out.x * of_grad.x + of_out.y * of_grad.y;
      };
      add(a.x, b.x);
      add(a.y, b.y);
      add(a.z, b.z);
      add(a.w, b.w);
    }
  sum += __shfl_xor_sync(~0u, sum, 1);
  if (group.thread % 2 == 0) sums[row] = sum;
}

/// One of this thread's two rows of gradients goes back to before the rotation.
template <int Width>
__device__ inline void rotate_row_back(const AttentionGradientProblem& g, float (&sums)[Width / 2], int h,
                                       std::int64_t batch, std::int64_t position, int pair) {
  if (!g.cos.data) return;
  constexpr int half = Width / 16;
#pragma unroll
  for (int t = 0; t < half; ++t)
#pragma unroll
    for (int i = 0; i < 2; ++i)
      rotate_back(g, batch, position, t * 8 + pair + i, sums[t * 4 + 2 * h + i],
                  sums[(half + t) * 4 + 2 * h + i]);
}

/// A block computes the gradient of 64 queries of one head, and leaves the statistics of their softmax. Its
/// groups take turns at the keys.
template <int Width, int Groups, int Stages, int Blocks>
__global__ void __launch_bounds__(Groups* group_threads, Blocks)
    query_gradient(const __grid_constant__ Maps maps, const AttentionGradientProblem g) {
  begin_in_order();
  extern __shared__ unsigned char raw[];
  auto& memory = aligned_memory<QueryMemory<Width, Groups, Stages>>(raw);
  const Group group;
  KeyTiles<Width, Stages>& tiles = memory.tiles[group.index];
  const AttentionProblem& p = g.forward;
  const int pair = group.thread % 4 * 2;
  const QueryTile tile(p, blockIdx.x, group);
  const ScoreScale scale(p.scale);
  HeadRows<Width>& out = memory.tiles[0].keys[Stages - 1];  // a stage that is filled later

  if (threadIdx.x == 0) {
    memory.own.init(1);
    if constexpr (Groups > 1) memory.handed_over.init((Groups - 1) * group_threads);
    for (KeyTiles<Width, Stages>& of_group : memory.tiles)
      for (Barrier& full : of_group.full) full.init(1);
    fence_for_async();
    memory.own.arrive_expecting(3 * HeadRows<Width>::bytes);
    memory.q.load(maps.q, tile.first_query, tile.at.head, tile.at.batch, memory.own);
    memory.grad.load(maps.grad, tile.first_query, tile.at.head, tile.at.batch, memory.own);
    out.load(maps.out, tile.first_query, tile.at.head, tile.at.batch, memory.own);
    begin_tiles<Groups>(memory.tiles, maps.k, maps.v, tile);
  }
  __syncthreads();
  memory.own.wait(0);
  if (group.index == 0) multiply_rows(memory.product, out, memory.grad, group);
  __syncthreads();
  const float product[2] = {memory.product[group.row()], memory.product[group.row() + 8]};

  constexpr int step = Groups * tile_rows;
  float sums[Width / 2] = {};
  SoftmaxRows softmax;
  Turn<Stages> turn;
  for (int key = tile.some.begin + group.index * tile_rows; key < tile.some.end; key += step) {
    const int stage = turn.stage;
    if (group.thread == 0) tiles.load(maps.k, maps.v, key + (Stages - 1) * step, tile, turn.last());
    tiles.full[stage].wait(turn.parity);
    if (key + tile_rows > tile.some.end) tiles.keys[stage].clear(tile.some.end - key, group);
    float scores[32];
    float slopes[32];
    begin_products();
    multiply_by_rows(scores, memory.q, tiles.keys[stage]);
    multiply_by_rows(slopes, memory.grad, tiles.values[stage]);
    commit_products();
    wait_products<0>();

    scale.apply(scores);
    if (!tile.all.holds_tile(key)) {
#pragma unroll
      for (int i = 0; i < 32; ++i) {
        if (tile.own[i % 4 / 2].holds(key + i / 4 * 8 + pair + i % 2)) continue;
        scores[i] = -INFINITY;
        slopes[i] = 0;
      }
    }
    softmax.add(scores, scale.of_exponents, sums);
#pragma unroll
    for (int i = 0; i < 32; ++i) scores[i] *= slopes[i] - product[i % 4 / 2];
    std::uint32_t left[4][4];
    round_left(left, scores);
    begin_products();
    multiply_by_columns(sums, left, tiles.keys[stage]);
    commit_products();
    wait_products<0>();
    group.sync();  // nobody reads the stage any more
    turn.next();
  }
  if constexpr (Groups > 1) {
    softmax.add_groups(sums, group, memory.tiles, memory.handed_over);
    if (group.index > 0) return;
  }

#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const float sum = row_sum(softmax.total[h]);
    if (tile.query + 8 * h >= p.m) continue;
    const std::int64_t row = tile.row(p, h);
    const float factor = sum == 0 ? 0.0f : static_cast<float>(p.scale) / sum;
    rotate_row_back<Width>(g, sums, h, tile.at.batch, tile.query + 8 * h, pair);
    store_row<Width>(static_cast<Bf16*>(g.q_gradient) + tile.row_in(g.q_gradient_steps, h), sums, h, factor,
                     pair);
    if (pair == 0) RowStatistics<float>(g).set(row, softmax.largest[h], sum, product[h]);
  }
}

/// Tiles of queries and gradients, and what their rows' softmax was.
template <int Width, int Stages>
struct QueryTiles {
  HeadRows<Width> queries[Stages];
  HeadRows<Width> grads[Stages];
  float largest[2][tile_rows];
  float inverse[2][tile_rows];
  float product[2][tile_rows];
  Barrier full[Stages];
};

template <int Width, int Groups, int Stages>
struct KeyMemory {
  HeadRows<Width> keys;
  HeadRows<Width> values;
  QueryTiles<Width, Stages> tiles[Groups];
  Barrier own;
  Barrier handed_over;
};

/// The first group's sums become those of all groups.
template <int Groups, int Sums, typename Tiles>
__device__ void add_groups(float (&k_sums)[Sums], float (&v_sums)[Sums], const Group& group,
                           Tiles (&tiles)[Groups], Barrier& handed_over) {
  static_assert(2 * Sums * sizeof(float) * group_threads <=
                sizeof(tiles[0].queries) + sizeof(tiles[0].grads));
  if (group.index > 0) {
    const HandedOver own(tiles[group.index], group);
#pragma unroll
    for (int i = 0; i < Sums; ++i) {
      own[i] = k_sums[i];
      own[Sums + i] = v_sums[i];
    }
    return handed_over.arrive();
  }
  handed_over.wait(0);
#pragma unroll
  for (int from = 1; from < Groups; ++from) {
    const HandedOver others(tiles[from], group);
#pragma unroll
    for (int i = 0; i < Sums; ++i) {
      k_sums[i] += others[i];
      v_sums[i] += others[Sums + i];
    }
  }
}

/// Parts of the heads that read a key head, in blocks of their own.
struct Parts {
  unsigned count;
  bool in_cluster;  ///< which adds them up
};

/// A block sums the gradients of 64 keys and values over the queries of all heads that read them, or one of
/// several parts of these heads; its groups take turns at the queries. Scores are computed transposed, so
/// that they are left operands of what follows.
template <int Width, int Groups, int Stages, int Blocks>
__global__ void __launch_bounds__(Groups* group_threads, Blocks)
    key_gradient(const __grid_constant__ Maps maps, const AttentionGradientProblem g, const Parts of_heads) {
  begin_in_order();
  extern __shared__ unsigned char raw[];
  auto& memory = aligned_memory<KeyMemory<Width, Groups, Stages>>(raw);
  const Group group;
  QueryTiles<Width, Stages>& tiles = memory.tiles[group.index];
  const AttentionProblem& p = g.forward;
  const int pair = group.thread % 4 * 2;
  const unsigned parts = of_heads.count;
  const std::int64_t blocks = (p.n + tile_rows - 1) / tile_rows;
  const HeadTile at(blockIdx.x / parts, p.batch, p.kv_heads, blocks);
  const unsigned part = blockIdx.x % parts;
  const std::int64_t block_first = (blocks - 1 - at.tile) * tile_rows;  // early keys have most queries
  const std::int64_t block_end = block_first + tile_rows < p.n ? block_first + tile_rows : p.n;
  const std::int64_t key = block_first + group.row();  // and + 8
  const std::int64_t first = first_position(p);
  const unsigned sharing = narrow_quotient(p.heads, p.kv_heads);
  const std::int64_t first_head = at.head * sharing + part * sharing / parts;
  const std::int64_t end_head = at.head * sharing + (part + 1) * sharing / parts;
  const RowStatistics<float> statistics(g);

  // The queries that some key of the block is seen by, those that all are, and those of this thread's keys.
  const Range some{queries_of(p, first, block_first).begin, queries_of(p, first, block_end - 1).end};
  const Range common{queries_of(p, first, block_end - 1).begin, queries_of(p, first, block_first).end};
  const Range seen[2] = {queries_of(p, first, key), queries_of(p, first, key + 8)};
  const int begin = some.begin / tile_rows * tile_rows;
  const ScoreScale scale(p.scale);

  struct Tile {
    std::int64_t head;
    int query;
  };
  const auto after = [&](Tile tile, int count) {
    for (int i = 0; i < count; ++i) {
      tile.query += tile_rows;
      if (tile.query >= some.end) tile = {tile.head + 1, begin};
    }
    return tile;
  };
  const auto load = [&](QueryTiles<Width, Stages>& to, const Tile& tile, int stage) {
    if (tile.head >= end_head) return;
    to.full[stage].arrive_expecting(2 * HeadRows<Width>::bytes);
    to.queries[stage].load(maps.q, tile.query, tile.head, at.batch, to.full[stage]);
    to.grads[stage].load(maps.grad, tile.query, tile.head, at.batch, to.full[stage]);
  };
  // Statistics are read an iteration before they are wanted.
  float largest = 0;
  float inverse = 0;
  float of_output = 0;
  const auto read_statistics = [&](const Tile& tile) {
    if (tile.head >= end_head) return;
    const std::int64_t query = tile.query + group.thread % tile_rows;
    const std::int64_t row = (at.batch * p.heads + tile.head) * p.m + query;
    const bool inside = query < p.m;
    largest = inside ? statistics.largest[row] : 0;
    inverse = inside ? statistics.inverse[row] : 0;
    of_output = inside ? statistics.product[row] : 0;
  };
  const auto keep_statistics = [&](int turn) {
    if (group.thread >= tile_rows) return;
    tiles.largest[turn][group.thread] = largest;
    tiles.inverse[turn][group.thread] = inverse;
    tiles.product[turn][group.thread] = of_output;
  };

  const Tile first_tile{some.begin < some.end ? first_head : end_head, begin};
  if (threadIdx.x == 0) {
    memory.own.init(1);
    if constexpr (Groups > 1) memory.handed_over.init((Groups - 1) * group_threads);
    for (QueryTiles<Width, Stages>& of_group : memory.tiles)
      for (Barrier& full : of_group.full) full.init(1);
    fence_for_async();
    memory.own.arrive_expecting(2 * HeadRows<Width>::bytes);
    memory.keys.load(maps.k, block_first, at.head, at.batch, memory.own);
    memory.values.load(maps.v, block_first, at.head, at.batch, memory.own);
    Tile begun = first_tile;
    for (int stage = 0; stage < Stages - 1; ++stage)
      for (int of = 0; of < Groups; ++of, begun = after(begun, 1)) load(memory.tiles[of], begun, stage);
  }
  Tile tile = after(first_tile, group.index);
  Tile ahead = after(tile, (Stages - 1) * Groups);
  read_statistics(tile);
  keep_statistics(0);
  __syncthreads();
  memory.own.wait(0);

  float k_sums[Width / 2] = {};
  float v_sums[Width / 2] = {};
  Turn<Stages> turn;
  int kept = 0;
  while (tile.head < end_head) {
    const int stage = turn.stage;
    if (group.thread == 0) load(tiles, ahead, turn.last());
    const Tile next = after(tile, Groups);
    read_statistics(next);
    tiles.full[stage].wait(turn.parity);
    float weights[32];
    float slopes[32];
    begin_products();
    multiply_by_rows(weights, memory.keys, tiles.queries[stage]);
    commit_products();
    multiply_by_rows(slopes, memory.values, tiles.grads[stage]);
    commit_products();
    wait_products<1>();

    scale.apply(weights);
    if (!common.holds_tile(tile.query)) {
#pragma unroll
      for (int i = 0; i < 32; ++i)
        if (!seen[i % 4 / 2].holds(tile.query + i / 4 * 8 + pair + i % 2)) weights[i] = -INFINITY;
    }
#pragma unroll
    for (int t = 0; t < 8; ++t) {
      const auto most = *reinterpret_cast<const float2*>(&tiles.largest[kept][t * 8 + pair]);
      const auto part_of = *reinterpret_cast<const float2*>(&tiles.inverse[kept][t * 8 + pair]);
#pragma unroll
      for (int i = t * 4; i < t * 4 + 4; ++i)
        weights[i] = power_of_2(fmaf(weights[i], scale.of_exponents, -(i % 2 ? most.y : most.x))) *
                     (i % 2 ? part_of.y : part_of.x);
    }
    std::uint32_t left[4][4];
    round_left(left, weights);
    wait_products<0>();
    begin_products();
    multiply_by_columns(v_sums, left, tiles.grads[stage]);
    commit_products();
#pragma unroll
    for (int t = 0; t < 8; ++t) {
      const auto part_of = *reinterpret_cast<const float2*>(&tiles.product[kept][t * 8 + pair]);
#pragma unroll
      for (int i = t * 4; i < t * 4 + 4; ++i)
        slopes[i] = weights[i] == 0 ? 0.0f : weights[i] * (slopes[i] - (i % 2 ? part_of.y : part_of.x));
    }
    std::uint32_t left_slopes[4][4];
    round_left(left_slopes, slopes);
    begin_products();
    multiply_by_columns(k_sums, left_slopes, tiles.queries[stage]);
    commit_products();
    keep_statistics(kept ^= 1);
    wait_products<0>();
    group.sync();  // nobody reads the stage any more
    tile = next;
    ahead = after(ahead, Groups);
    turn.next();
  }
  if constexpr (Groups > 1) {
    add_groups(k_sums, v_sums, group, memory.tiles, memory.handed_over);
    if (group.index > 0) return;
  }

  if constexpr (Groups == 1) {
    if (of_heads.in_cluster) {
      auto& sums = reinterpret_cast<KeySums<Width>&>(memory);  // whose tiles nobody reads any more
      static_assert(sizeof(sums) <= sizeof(memory));
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        store_row<Width>(sums.k[group.row() + 8 * h], k_sums, h, static_cast<float>(p.scale), pair);
        store_row<Width>(sums.v[group.row() + 8 * h], v_sums, h, 1.0f, pair);
      }
      return write_cluster_sums(g, sums, at.batch, at.head, block_first);
    }
  }

  const std::int64_t count = p.batch * p.kv_heads * p.n * Width;
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    if (key + 8 * h >= p.n) continue;
    const std::int64_t row = row_at(g.k_gradient_steps, at.batch, at.head, key + 8 * h);
    const auto scale = static_cast<float>(p.scale);
    if (parts == 1) {
      rotate_row_back<Width>(g, k_sums, h, at.batch, key + 8 * h, pair);
      store_row<Width>(static_cast<Bf16*>(g.k_gradient) + row, k_sums, h, scale, pair);
      store_row<Width>(static_cast<Bf16*>(g.v_gradient) + row, v_sums, h, 1.0f, pair);
    } else {
      store_row<Width>(g.partial + part * 2 * count + row, k_sums, h, scale, pair);
      store_row<Width>(g.partial + (part * 2 + 1) * count + row, v_sums, h, 1.0f, pair);
    }
  }
}

template <int Width, int Groups, int Stages, int Blocks>
void launch(const AttentionGradientProblem& g, const Parts& parts, cudaStream_t stream) {
  const AttentionProblem& p = g.forward;
  const Maps maps{map_of(p.q, p.q_steps, p.batch, p.heads, p.m, p.d),
                  map_of(p.k, p.k_steps, p.batch, p.kv_heads, p.n, p.d),
                  map_of(p.v, p.v_steps, p.batch, p.kv_heads, p.n, p.d),
                  map_of(g.out, g.out_steps, p.batch, p.heads, p.m, p.d),
                  map_of(g.grad, g.grad_steps, p.batch, p.heads, p.m, p.d)};
  const auto tiles = [](std::int64_t rows) { return (rows + tile_rows - 1) / tile_rows; };
  constexpr std::size_t query_bytes = sizeof(QueryMemory<Width, Groups, Stages>) + 1024;
  constexpr std::size_t key_bytes = sizeof(KeyMemory<Width, Groups, Stages>) + 1024;
  static_assert(query_bytes <= 227 * 1024 && key_bytes <= 227 * 1024);
  constexpr unsigned threads = Groups * group_threads;
  launch_kernel(query_gradient<Width, Groups, Stages, Blocks>,
                {static_cast<unsigned>(p.batch * p.heads * tiles(p.m)), threads, query_bytes}, stream,
                "the gradient of attention", maps, g);
  launch_kernel(key_gradient<Width, Groups, Stages, Blocks>,
                {static_cast<unsigned>(p.batch * p.kv_heads * tiles(p.n)) * parts.count, threads, key_bytes,
                 parts.in_cluster ? parts.count : 1},
                stream, "the gradient of attention", maps, g, parts);
}

/// As many parts as give a GPU enough blocks, some of which are long, and a cluster can have.
Parts parts_in_cluster(const AttentionProblem& p) {
  constexpr std::int64_t enough_blocks = 512;
  const std::int64_t blocks = p.batch * p.kv_heads * ((p.n + tile_rows - 1) / tile_rows);
  const std::int64_t parts = std::min<std::int64_t>(
      {p.heads / p.kv_heads, (enough_blocks + blocks - 1) / blocks, most_cluster_blocks});
  return {static_cast<unsigned>(parts), parts > 1};
}

}  // namespace

std::int64_t launch_hopper_attention_gradient(const AttentionGradientProblem& g, std::int64_t most_parts,
                                              cudaStream_t stream) {
  const AttentionProblem& p = g.forward;
  if (!takes(p) || !is_boxed(g.grad, g.grad_steps, p.batch, p.heads, p.m) ||
      !is_boxed(g.out, g.out_steps, p.batch, p.heads, p.m))
    return 0;
  const bool few = p.batch * p.heads * ((p.m + tile_rows - 1) / tile_rows) <= multiprocessors();
  const Parts parts = few ? Parts{static_cast<unsigned>(most_parts), false} : parts_in_cluster(p);
  if (p.d == 64)
    few ? launch<64, 3, 3, 1>(g, parts, stream) : launch<64, 1, 2, 3>(g, parts, stream);
  else
    few ? launch<128, 2, 2, 1>(g, parts, stream) : launch<128, 1, 2, 2>(g, parts, stream);
  return parts.in_cluster ? 1 : parts.count;
}

}  // namespace wick::cuda
