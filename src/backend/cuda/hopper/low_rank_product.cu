#include <algorithm>
#include <span>

#include "backend/cuda/check.h"
#include "backend/cuda/gpu.h"
#include "backend/cuda/hopper/low_rank_factors.cuh"
#include "backend/cuda/hopper/tensor_map.h"
#include "backend/cuda/launch_kernel.h"

// Products of bf16 matrices to which those of thin factors are added: a group of warps multiplies, another
// one brings what is multiplied.
namespace wick::cuda {
namespace {

using namespace hopper;
using namespace hopper::low_rank;

__device__ inline void store_matrices(void* to, const std::uint32_t (&x)[4]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(shared_address(to)),
               "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3])
               : "memory");
}

/// A group of warps: 64 rows of the output, from (row, first_column) on, some boxes at a time.
template <typename Tile>
__device__ void write_rows(const Memory<Tile>& memory, const CUtensorMap& out, const Work& w,
                           int first_column, int row, int group, float (&sums)[Tile::columns / 2]) {
  constexpr int at_once = Tile::stores_at_once;
  const int thread = static_cast<int>(threadIdx.x) % group_threads;
  const int lane = thread % 32;
  unsigned char* const own_out = memory.out + group * at_once * store_bytes;
  if (w.bias) {
#pragma unroll
    for (int j = 0; j < Tile::columns / 8; ++j) {
      const int column = first_column + j * 8 + lane % 4 * 2;
      const std::uint32_t pair =
          column < w.columns ? *reinterpret_cast<const std::uint32_t*>(w.bias + column) : 0;
      const float low = __uint_as_float(pair << 16);
      const float high = __uint_as_float(pair & 0xffff0000u);
      sums[j * 4] += low;
      sums[j * 4 + 1] += high;
      sums[j * 4 + 2] += low;
      sums[j * 4 + 3] += high;
    }
  }
#pragma unroll
  for (int first = 0; first < Tile::stores; first += at_once) {
    if (thread < at_once) wait_stores_read();
    sync_threads(2 + group, group_threads);
#pragma unroll
    for (int i = first; i < min(first + at_once, Tile::stores); ++i) {
      unsigned char* const to = own_out + (i - first) * store_bytes;
      const int line = thread / 32 * 16 + lane % 16;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float* const s = sums + i * 16 + half * 8;
        const int piece = half * 2 + lane / 16;
        store_matrices(
            to + line * store_columns * 2 + ((piece ^ line >> 1) & 3) * 16,
            {pack<Bf16>(s[0], s[1]), pack<Bf16>(s[2], s[3]), pack<Bf16>(s[4], s[5]), pack<Bf16>(s[6], s[7])});
      }
    }
    fence_for_async();
    sync_threads(2 + group, group_threads);
    if (thread < at_once) {
      const int column = (first + thread) * store_columns;
      if (row < w.rows && column < Tile::columns && first_column + column < w.columns)
        store_box(out, own_out + thread * store_bytes, first_column + column, row);
      commit_stores();
    }
  }
}

/// A group of warps: the products of 64 rows, then the output.
template <typename Tile>
__device__ void consume(const Memory<Tile>& memory, const CUtensorMap& out, const Work& w, int group) {
  constexpr int columns = Tile::columns;
  constexpr int right_step = (Tile::by_depth ? 16 * line_bytes : 32) / 16;
  [[maybe_unused]] constexpr int factor_step = (Tile::by_depth ? 8 * line_bytes : 32) / 16;
  const int thread = static_cast<int>(threadIdx.x) % group_threads;
  const int lane = thread % 32;
  Ring ring;
  const auto right_operand = [&] {
    return operand(memory.right(ring.stage), Tile::by_depth ? block_bytes : 0);
  };
  /// Other lanes may have read the stage, too.
  const auto release = [&](int stage) {
    if (Tile::projects) __syncwarp();
    if (lane == 0) memory.empty[stage].arrive();
  };
  begin_in_order();
  for (int tile = blockIdx.x; tile < w.tiles(); tile += gridDim.x) {
    const Place at = place_of<Tile>(w, tile);
    const int row = at.row + group * 64;
    float sums[columns / 2];
    [[maybe_unused]] float projected[own_ranks];  // by the high parts of a, then by the low ones
    [[maybe_unused]] LeftTile x[4];
    int before = -1;  // a stage whose products may be under way
    const auto multiply_block = [&]<bool Project>(int parts, bool more, bool more_projected) {
      memory.full[ring.stage].wait(ring.parity);
      const std::uint64_t left = operand(memory.left(ring.stage) + group * block_bytes, 0);
      const std::uint64_t right = right_operand();
      if constexpr (Project) {
        // Its products take the rows from registers: with so few columns, reading them would take longest.
        const int line = thread / 32 * 16 + lane % 16;
        const unsigned char* const rows = memory.left(ring.stage) + group * block_bytes + line * line_bytes;
        const std::uint64_t factor = Tile::by_depth ? short_line_operand(memory.factor(ring.stage))
                                                    : operand(memory.factor(ring.stage), 0);
#pragma unroll
        for (int part = 0; part < 4; ++part)
          load_matrices(x[part].x, rows + ((part * 2 + lane / 16 ^ line) & 7) * 16);
        begin_products();
#pragma unroll
        for (int part = 0; part < 4; ++part)
          multiply<2 * own_ranks, Tile::by_depth>(projected, x[part].x, factor + part * factor_step,
                                                  part > 0 || more_projected);
        commit_products();
      } else {
        begin_products();
      }
#pragma unroll
      for (int part = 0; part < 4; ++part)
        if (part < parts)
          multiply<columns, Tile::by_depth>(sums, left + part * 2, right + part * right_step,
                                            part > 0 || more);
      commit_products();
      wait_products<1>();
      if (before >= 0) release(before);
      before = ring.stage;
      ring.next<Tile>();
    };
    const auto multiply_plain = [&](int parts, bool more) {
      multiply_block.template operator()<false>(parts, more, false);
    };
    if constexpr (Tile::projects) {
      for (int m = 0; m < w.count; ++m) {
        const Member& member = w.members[m];
        if (member.rank == 0 || w.reads_projections(at.column)) {
          for (int block = 0; block < member.blocks; ++block) multiply_plain(4, m > 0 || block > 0);
          if (member.rank > 0) multiply_plain(own_ranks / 16, true);
          continue;
        }
        for (int block = 0; block < member.blocks; ++block)
          multiply_block.template operator()<true>(4, m > 0 || block > 0, block > 0);
        wait_products<0>();
        release(before);
        before = -1;
#pragma unroll
        for (int i = 0; i < own_ranks / 2; ++i)
          projected[i] = member.scale * (projected[i] + projected[i + own_ranks / 2]);
        const std::uint32_t left[4] = {
            pack<Bf16>(projected[0], projected[1]), pack<Bf16>(projected[2], projected[3]),
            pack<Bf16>(projected[4], projected[5]), pack<Bf16>(projected[6], projected[7])};
        memory.full[ring.stage].wait(ring.parity);
        begin_products();
        multiply<columns, Tile::by_depth>(sums, left, right_operand(), 1);
        commit_products();
        if (member.t_out && at.column == 0) {
#pragma unroll
          for (int i = 0; i < own_ranks / 2; ++i) {
            const int t_row = row + thread / 32 * 16 + lane / 4 + i % 4 / 2 * 8;
            const int rank = i / 4 * 8 + lane % 4 * 2 + i % 2;
            if (t_row < w.rows && rank < member.rank)
              member.t_out[static_cast<std::int64_t>(t_row) * member.rank + rank] = projected[i];
          }
          if (w.ready) {
            sync_threads(2 + group, group_threads);
            if (thread == 0) store_release(w.ready + row / 64, static_cast<unsigned int>(m + 1));
          }
        }
        wait_products<0>();
        release(ring.stage);
        ring.next<Tile>();
      }
      wait_products<0>();
      if (before >= 0) release(before);
    } else {
      for (int block = 0; block < w.blocks; ++block) multiply_plain(4, block > 0);
      multiply_plain(w.pieces / 2, true);
      wait_products<0>();
      release(before);
    }

    write_rows<Tile>(memory, out, w, at.column, row, group, sums);
  }
  if (thread < Tile::stores_at_once) wait_stores();
}

template <typename Tile>
__global__ void __launch_bounds__(Tile::threads, 1)
    multiply_with_factors(const __grid_constant__ Maps maps, const __grid_constant__ Work w) {
  extern __shared__ unsigned char raw[];
  const Memory<Tile> memory(raw);
  if (threadIdx.x == group_threads) {
    prefetch_map(maps.left[0]);
    prefetch_map(maps.right[0]);
    prefetch_map(maps.out);
  }
  if (threadIdx.x == 0) {
    for (int s = 0; s < Tile::stages; ++s) {
      memory.full[s].init(Tile::projects ? 1 + filling_lanes : 1);
      memory.empty[s].init(Tile::groups * 4);  // a warp each
      memory.fill[s].init(1);
    }
    fence_for_async();
  }
  __syncthreads();
  // The same for all threads of a warp, which the compiler must know of where products are issued.
  const int group = __shfl_sync(~0u, static_cast<int>(threadIdx.x) / group_threads, 0);
  if (group == Tile::groups) {
    // Three groups have 168 registers a thread.
    if constexpr (Tile::groups == 2) give_registers<Tile::projects ? 120 : 104>();
    const int thread = static_cast<int>(threadIdx.x) % group_threads;
    if (thread == 0) produce<Tile>(memory, maps, w);
    if (thread < 32) return;
    if constexpr (Tile::projects)
      w.whole_ranks ? ProjectingFillers<Tile, true>(memory, w, thread - 32).run()
                    : ProjectingFillers<Tile, false>(memory, w, thread - 32).run();
    else
      w.whole_ranks ? fill<Tile, true>(memory, w, thread - 32) : fill<Tile, false>(memory, w, thread - 32);
  } else {
    if constexpr (Tile::groups == 2) take_registers<Tile::projects ? 192 : 200>();
    consume<Tile>(memory, maps.out, w, group);
  }
}

template <typename Tile>
void launch(const LowRankProduct& p, cudaStream_t stream) {
  static_assert(Tile::stores_at_once > 0);
  const auto ceil_div = [](std::int64_t a, std::int64_t b) { return static_cast<int>((a + b - 1) / b); };
  Work w{};
  Maps maps{};
  if constexpr (Tile::projects) w.ready = p.ready;
  const bool shares = w.ready != nullptr;
  for (int m = 0; m < p.count; ++m) {
    const LowRankProduct::Member& member = p.members[m];
    Member& to = w.members[m];
    to = {.t = shares ? member.t_out : member.t,
          .a = member.a,
          .b = member.b,
          .t_out = member.t_out,
          .scale = member.scale,
          .depth = static_cast<int>(member.depth),
          .rank = static_cast<int>(member.rank),
          .blocks = ceil_div(member.depth, depth_block),
          .pieces = ceil_div(member.rank, 16) * 2};
    w.blocks += to.blocks;
    w.pieces += to.pieces;
    maps.left[m] = tensor_map(BoxedMatrix{member.x, p.rows, member.depth, Tile::rows, depth_block});
    maps.right[m] =
        Tile::by_depth
            ? tensor_map(BoxedMatrix{member.weight, member.depth, p.columns, depth_block, 64})
            : tensor_map(BoxedMatrix{member.weight, p.columns, member.depth, Tile::columns, depth_block});
  }
  maps.out = tensor_map(BoxedMatrix{p.out, p.rows, p.columns, 64, store_columns});
  w.bias = static_cast<const Bf16*>(p.bias);
  w.whole_ranks = std::ranges::all_of(p.terms(), [](const auto& m) { return m.rank % 8 == 0; });
  w.count = p.count;
  w.rows = static_cast<int>(p.rows);
  w.columns = static_cast<int>(p.columns);
  w.row_tiles = ceil_div(p.rows, Tile::rows);
  w.column_tiles = ceil_div(p.columns, Tile::columns);
  const int blocks = std::min(w.row_tiles * w.column_tiles, multiprocessors());
  if (shares) {
    const std::size_t bytes = static_cast<std::size_t>(p.row_groups(p.rows)) * sizeof(*p.ready);
    check(cudaMemsetAsync(p.ready, 0, bytes, stream), "clearing counts");
  }
  launch_kernel(multiply_with_factors<Tile>,
                {.blocks = static_cast<unsigned>(blocks),
                 .threads = Tile::threads,
                 .shared = Tile::shared_bytes,
                 .at_once = shares},
                stream, "a product with an adapter", maps, w);
}

using Launch = void (*)(const LowRankProduct&, cudaStream_t);

template <bool ByDepth>
constexpr Launch reading[] = {
    launch<TileShape<2, 256, ByDepth, 4, false>>, launch<TileShape<2, 224, ByDepth, 4, false>>,
    launch<TileShape<2, 128, ByDepth, 6, false>>, launch<TileShape<1, 128, ByDepth, 6, false>>,
    launch<TileShape<1, 64, ByDepth, 8, false>>,  launch<TileShape<1, 32, ByDepth, 10, false>>,
};
template <bool ByDepth>
constexpr Launch projecting[] = {
    launch<TileShape<2, 256, ByDepth, 4, true>>, launch<TileShape<2, 224, ByDepth, 4, true>>,
    launch<TileShape<1, 128, ByDepth, 6, true>>, launch<TileShape<1, 64, ByDepth, 8, true>>,
    launch<TileShape<1, 32, ByDepth, 10, true>>,
};
/// Of those that project, the first ones, with the largest tiles, can share.
constexpr std::size_t sharing = 2;

bool projects(const LowRankProduct& p) {
  return std::ranges::any_of(p.terms(), [](const auto& member) { return member.a != nullptr; });
}

template <bool ByDepth>
std::span<const Launch> ways_of(const LowRankProduct& p) {
  if (!projects(p)) return reading<ByDepth>;
  return std::span(projecting<ByDepth>).first(p.ready ? sharing : std::size(projecting<ByDepth>));
}
std::span<const Launch> ways_of(const LowRankProduct& p) {
  return p.transposed ? ways_of<true>(p) : ways_of<false>(p);
}

}  // namespace

int low_rank_product_ways(const LowRankProduct& p) {
  constexpr std::int64_t most = 1 << 30;  // numbers are 32 bits wide in the kernel
  const auto is_aligned = [](const void* address) {
    return reinterpret_cast<std::uintptr_t>(address) % 16 == 0;
  };
  const bool all_project = projects(p);
  std::int64_t ranks = 0;
  const auto takes_member = [&](const LowRankProduct::Member& m) {
    ranks += (m.rank + 15) / 16 * 16;
    if (all_project && m.rank > 0 && (!m.a || m.rank > own_ranks)) return false;
    return m.depth > 0 && m.depth % 8 == 0 && m.depth < most && is_aligned(m.x) && is_aligned(m.weight) &&
           is_aligned(all_project ? m.a : m.t) && is_aligned(m.b);
  };
  const bool takes = compute_capability() == 90 && std::ranges::all_of(p.terms(), takes_member) &&
                     ranks > 0 && ranks <= LowRankProduct::most_rank && p.rows > 0 && p.columns > 0 &&
                     p.columns % 8 == 0 && p.rows < most && p.columns < most && is_aligned(p.out) &&
                     is_aligned(p.bias);
  return takes ? static_cast<int>(ways_of(p).size()) : 0;
}

void launch_low_rank_product(const LowRankProduct& p, int way, cudaStream_t stream) {
  ways_of(p)[static_cast<std::size_t>(way)](p, stream);
}

}  // namespace wick::cuda
