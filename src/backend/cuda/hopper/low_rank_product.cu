#include <algorithm>
#include <iterator>

#include "backend/cuda/device/launch_order.cuh"
#include "backend/cuda/gpu.h"
#include "backend/cuda/hopper/instructions.cuh"
#include "backend/cuda/hopper/low_rank_product.h"
#include "backend/cuda/hopper/tensor_map.h"
#include "backend/cuda/launch_kernel.h"
#include "backend/cuda/tensor_core.cuh"

// Products of bf16 matrices to which those of thin factors are added. To the loop over the depth, members of
// a sum are more of it, and so are all factors: a block of (t, b) among those of (x, weight).
namespace wick::cuda {
namespace {

using namespace hopper;

constexpr int depth_block = 64;
constexpr int line_bytes = 128;  // of such a block
constexpr int block_bytes = 64 * line_bytes;
constexpr int store_columns = 32;  // of a box of the output
constexpr int store_bytes = 64 * store_columns * 2;
constexpr int group_threads = 128;
constexpr int fillers = 96;     // threads that bring the factors
constexpr int held_pieces = 8;  // a filler reads ahead

constexpr int most_members = LowRankProduct::most_members;

struct Maps {
  CUtensorMap left[most_members];
  CUtensorMap right[most_members];
  CUtensorMap out;
};

struct Member {
  const float* t;
  const float* b;
  int depth, rank;
  int pieces;  ///< of 8 ranks, an even number
};

/// What the kernel reads besides the matrices, and the order of its tiles: bands of some columns, row by row.
struct Work {
  Member members[most_members];
  const Bf16* bias;
  int rows, columns;
  int blocks;  ///< of the depth of all members
  int pieces;  ///< of the ranks of all members
  int row_tiles, column_tiles;
};

struct Place {
  int row;
  int column;
};

template <typename Tile>
__device__ Place place_of(const Work& w, int tile) {
  constexpr int band = 8;
  const int first = tile / (band * w.row_tiles) * band;
  const int width = min(band, w.column_tiles - first);
  const int rest = tile - first * w.row_tiles;
  return {rest / width * Tile::rows, (first + rest % width) * Tile::columns};
}

/// A tile of the output: 64 rows for each of one or two groups of warps. `by_depth`: the weight's lines are
/// of one depth (transposed weights), in blocks of 64 columns.
template <int Groups, int Columns, bool ByDepth, int Stages>
struct TileShape {
  static constexpr int groups = Groups;
  static constexpr int rows = Groups * 64;
  static constexpr int columns = Columns;
  static constexpr bool by_depth = ByDepth;
  static constexpr int stages = Stages;
  static constexpr int threads = (Groups + 1) * group_threads;
  static constexpr int blocks = (Columns + 63) / 64;
  static constexpr int left_bytes = rows * line_bytes;
  static constexpr int right_bytes = ByDepth ? blocks * block_bytes : Columns * line_bytes;
  static constexpr int stage_bytes = left_bytes + blocks * block_bytes;
  static constexpr int stores = Columns / store_columns;
  static constexpr int stores_at_once = stores < 4 ? stores : 4;
  static constexpr int shared_bytes = 1024 + Stages * stage_bytes + Groups * stores_at_once * store_bytes +
                                      3 * Stages * static_cast<int>(sizeof(Barrier));
};

/// Shared memory; a stage holds a block of the depth of x, then of the weight.
template <typename Tile>
struct Memory {
  __device__ explicit Memory(unsigned char* raw) {
    stages = raw + (1024 - shared_address(raw) % 1024) % 1024;
    out = stages + Tile::stages * Tile::stage_bytes;
    full = reinterpret_cast<Barrier*>(out + Tile::groups * Tile::stores_at_once * store_bytes);
    empty = full + Tile::stages;
    fill = empty + Tile::stages;
  }
  __device__ unsigned char* left(int stage) const { return stages + stage * Tile::stage_bytes; }
  __device__ unsigned char* right(int stage) const { return left(stage) + Tile::left_bytes; }

  unsigned char* stages;
  unsigned char* out;
  Barrier* full;
  Barrier* empty;
  Barrier* fill;  ///< a stage waits for the factors
};

/// Blocks of a tile's depth. The factors come behind as many others as the stages hold, so that reading them
/// has that time.
template <typename Tile>
struct Steps {
  __device__ explicit Steps(const Work& w) {
    factors = min(w.blocks, Tile::stages - 1);
    count = w.blocks + 1;
  }
  int factors;
  int count;
};

struct Ring {
  template <typename Tile>
  __device__ void next() {
    if (++stage < Tile::stages) return;
    stage = 0;
    parity ^= 1;
  }
  int stage = 0;
  int parity = 0;
};

/// One thread: starts all copies.
template <typename Tile>
__device__ void produce(const Memory<Tile>& memory, const Maps& maps, const Work& w) {
  const Steps<Tile> steps(w);
  Ring ring{0, 1};
  for (int tile = blockIdx.x; tile < w.row_tiles * w.column_tiles; tile += gridDim.x) {
    const Place at = place_of<Tile>(w, tile);
    int member = 0;
    int depth = 0;
    for (int step = 0; step < steps.count; ++step, ring.next<Tile>()) {
      memory.empty[ring.stage].wait(ring.parity);
      if (step == steps.factors) {
        memory.fill[ring.stage].arrive();
        continue;
      }
      Barrier& full = memory.full[ring.stage];
      full.arrive_expecting(Tile::left_bytes + Tile::right_bytes);
      load_box(memory.left(ring.stage), maps.left[member], depth, at.row, full);
      unsigned char* const to = memory.right(ring.stage);
      if constexpr (Tile::by_depth) {
        for (int i = 0; i < Tile::blocks; ++i)
          load_box(to + i * block_bytes, maps.right[member], at.column + i * 64, depth, full);
      } else {
        load_box(to, maps.right[member], depth, at.column, full);
      }
      depth += depth_block;
      if (depth < w.members[member].depth) continue;
      depth = 0;
      ++member;
    }
  }
}

/// The factors of a tile as pieces of 8 elements, those of t first, member after member. What lies behind a
/// member's rank, up to a multiple of 16, is zero.
template <typename Tile>
class Factors {
 public:
  __device__ Factors(const Work& w, const Place& at) : w_(w), at_(at), pieces_(w.pieces) {}

  __device__ int count() const { return Tile::rows * pieces_ + right_pieces(); }
  __device__ uint4 read(int i) const {
    if (i < Tile::rows * pieces_) return read_row(&Member::t, i, at_.row, w_.rows);
    i -= Tile::rows * pieces_;
    if (i >= right_pieces()) return {};
    if constexpr (!Tile::by_depth) return read_row(&Member::b, i, at_.column, w_.columns);
    int rank = i / (Tile::blocks * 8);
    const Member& member = member_at(rank, 8);
    const int column = at_.column + i % (Tile::blocks * 8) * 8;
    if (rank >= member.rank || column >= w_.columns) return {};
    return eight(member.b + static_cast<std::int64_t>(rank) * w_.columns + column);
  }
  __device__ void write(unsigned char* left, unsigned char* right, int i, const uint4& piece) const {
    if (i < Tile::rows * pieces_) return write_line(left, i / pieces_, i % pieces_, piece);
    i -= Tile::rows * pieces_;
    if (i >= right_pieces()) return;
    if constexpr (Tile::by_depth)
      write_line(right + i % (Tile::blocks * 8) / 8 * block_bytes, i / (Tile::blocks * 8), i % 8, piece);
    else
      write_line(right, i / pieces_, i % pieces_, piece);
  }

 private:
  __device__ int right_pieces() const {
    return Tile::by_depth ? pieces_ * 8 * Tile::blocks * 8 : Tile::columns * pieces_;
  }
  __device__ static uint4 eight(const float* from) {
    const auto x = *reinterpret_cast<const float4*>(from);
    const auto y = *reinterpret_cast<const float4*>(from + 4);
    return {pack<Bf16>(x.x, x.y), pack<Bf16>(x.z, x.w), pack<Bf16>(y.x, y.y), pack<Bf16>(y.z, y.w)};
  }
  /// Whose factors have what is the i-th of all; `i` becomes its place among the member's. `each` are in a
  /// piece.
  __device__ const Member& member_at(int& i, int each) const {
    int m = 0;
    while (i >= w_.members[m].pieces * each) i -= w_.members[m++].pieces * each;
    return w_.members[m];
  }
  /// Of matrices [end, rank].
  __device__ uint4 read_row(const float* Member::*matrix, int i, int first, int end) const {
    const int row = first + i / pieces_;
    int piece = i % pieces_;
    const Member& member = member_at(piece, 1);
    const int rank = piece * 8;
    if (row >= end || rank >= member.rank) return {};
    const float* const from = member.*matrix + static_cast<std::int64_t>(row) * member.rank + rank;
    if (member.rank % 8 == 0) return eight(from);
    const auto element = [&](int j) { return rank + j < member.rank ? from[j] : 0.0f; };
    return {pack<Bf16>(element(0), element(1)), pack<Bf16>(element(2), element(3)),
            pack<Bf16>(element(4), element(5)), pack<Bf16>(element(6), element(7))};
  }
  __device__ static void write_line(unsigned char* to, int line, int piece, const uint4& value) {
    *reinterpret_cast<uint4*>(to + line * line_bytes + ((piece ^ line) & 7) * 16) = value;
  }

  const Work& w_;
  Place at_;
  int pieces_;
};

/// Three warps: bring the factors, reading a tile's before their stage is free.
template <typename Tile>
__device__ void fill(const Memory<Tile>& memory, const Work& w, int filler) {
  const Steps<Tile> steps(w);
  unsigned parities = 0;
  int step = steps.factors;
  for (int tile = blockIdx.x; tile < w.row_tiles * w.column_tiles; tile += gridDim.x, step += steps.count) {
    const Factors<Tile> factors(w, place_of<Tile>(w, tile));
    const int stage = step % Tile::stages;
    for (int first = filler; first < factors.count() + filler; first += held_pieces * fillers) {
      uint4 held[held_pieces];
#pragma unroll
      for (int i = 0; i < held_pieces; ++i) held[i] = factors.read(first + i * fillers);
      if (first == filler) {
        memory.fill[stage].wait(parities >> stage & 1);
        parities ^= 1u << stage;
      }
#pragma unroll
      for (int i = 0; i < held_pieces; ++i)
        factors.write(memory.left(stage), memory.right(stage), first + i * fillers, held[i]);
    }
    fence_for_async();
    sync_threads(1, fillers);
    if (filler == 0) memory.full[stage].arrive();
  }
}

__device__ inline void store_matrices(void* to, const std::uint32_t (&x)[4]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(shared_address(to)),
               "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3])
               : "memory");
}

/// A group of warps: the products of 64 rows, then the output.
template <typename Tile>
__device__ void consume(const Memory<Tile>& memory, const CUtensorMap& out, const Work& w, int group) {
  constexpr int columns = Tile::columns;
  const int thread = static_cast<int>(threadIdx.x) % group_threads;
  const int lane = thread % 32;
  const Steps<Tile> steps(w);
  const int factor_parts = w.pieces / 2;
  unsigned char* const own_out = memory.out + group * Tile::stores_at_once * store_bytes;
  Ring ring;
  for (int tile = blockIdx.x; tile < w.row_tiles * w.column_tiles; tile += gridDim.x) {
    const Place at = place_of<Tile>(w, tile);
    const int row = at.row + group * 64;
    float sums[columns / 2];
    int before = -1;  // a stage whose products may be under way
    const auto multiply_block = [&](int parts, bool more) {
      memory.full[ring.stage].wait(ring.parity);
      const std::uint64_t left = operand(memory.left(ring.stage) + group * block_bytes, 0);
      const std::uint64_t right = operand(memory.right(ring.stage), Tile::by_depth ? block_bytes : 0);
      constexpr int right_step = (Tile::by_depth ? 16 * line_bytes : 32) / 16;
      begin_products();
#pragma unroll
      for (int part = 0; part < 4; ++part)
        if (part < parts)
          multiply<columns, Tile::by_depth>(sums, left + part * 2, right + part * right_step,
                                            part > 0 || more);
      commit_products();
      wait_products<1>();
      if (before >= 0 && thread == 0) memory.empty[before].arrive();
      before = ring.stage;
      ring.next<Tile>();
    };
    for (int step = 0; step < steps.factors; ++step) multiply_block(4, step > 0);
    multiply_block(factor_parts, true);
    for (int step = steps.factors + 1; step < steps.count; ++step) multiply_block(4, true);
    wait_products<0>();
    if (thread == 0) memory.empty[before].arrive();

    if (w.bias) {
#pragma unroll
      for (int j = 0; j < columns / 8; ++j) {
        const int column = at.column + j * 8 + lane % 4 * 2;
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
    for (int first = 0; first < Tile::stores; first += Tile::stores_at_once) {
      if (thread == 0) wait_stores_read();
      sync_threads(2 + group, group_threads);
#pragma unroll
      for (int i = first; i < min(first + Tile::stores_at_once, Tile::stores); ++i) {
        unsigned char* const to = own_out + (i - first) * store_bytes;
        const int line = thread / 32 * 16 + lane % 16;
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const float* const s = sums + i * 16 + half * 8;
          const int piece = half * 2 + lane / 16;
          store_matrices(to + line * store_columns * 2 + ((piece ^ line >> 1) & 3) * 16,
                         {pack<Bf16>(s[0], s[1]), pack<Bf16>(s[2], s[3]), pack<Bf16>(s[4], s[5]),
                          pack<Bf16>(s[6], s[7])});
        }
      }
      fence_for_async();
      sync_threads(2 + group, group_threads);
      if (thread == 0) {
#pragma unroll
        for (int i = first; i < min(first + Tile::stores_at_once, Tile::stores); ++i)
          if (row < w.rows && at.column + i * store_columns < w.columns)
            store_box(out, own_out + (i - first) * store_bytes, at.column + i * store_columns, row);
        commit_stores();
      }
    }
  }
  if (thread == 0) wait_stores();
}

template <typename Tile>
__global__ void __launch_bounds__(Tile::threads, 1)
    multiply_with_factors(const __grid_constant__ Maps maps, const __grid_constant__ Work w) {
  extern __shared__ unsigned char raw[];
  const Memory<Tile> memory(raw);
  if (threadIdx.x == 0) {
    prefetch_map(maps.left[0]);
    prefetch_map(maps.right[0]);
    prefetch_map(maps.out);
    for (int s = 0; s < Tile::stages; ++s) {
      memory.full[s].init(1);
      memory.empty[s].init(Tile::groups);
      memory.fill[s].init(1);
    }
    fence_for_async();
  }
  __syncthreads();
  begin_in_order();
  // The same for all threads of a warp, which the compiler must know of where products are issued.
  const int group = __shfl_sync(~0u, static_cast<int>(threadIdx.x) / group_threads, 0);
  if (group == Tile::groups) {
    // Three groups have 168 registers a thread.
    if constexpr (Tile::groups == 2) give_registers<88>();
    const int thread = static_cast<int>(threadIdx.x) % group_threads;
    if (thread == 0) produce<Tile>(memory, maps, w);
    if (thread >= 32) fill<Tile>(memory, w, thread - 32);
  } else {
    if constexpr (Tile::groups == 2) take_registers<208>();
    consume<Tile>(memory, maps.out, w, group);
  }
}

template <typename Tile>
void launch(const LowRankProduct& p, cudaStream_t stream) {
  static_assert(Tile::shared_bytes <= 227 * 1024);
  const auto ceil_div = [](std::int64_t a, std::int64_t b) { return static_cast<int>((a + b - 1) / b); };
  Work w{};
  Maps maps{};
  for (int m = 0; m < p.count; ++m) {
    const LowRankProduct::Member& member = p.members[m];
    w.members[m] = {member.t, member.b, static_cast<int>(member.depth), static_cast<int>(member.rank),
                    ceil_div(member.rank, 16) * 2};
    w.blocks += ceil_div(member.depth, depth_block);
    w.pieces += w.members[m].pieces;
    maps.left[m] = tensor_map(BoxedMatrix{member.x, p.rows, member.depth, Tile::rows, depth_block});
    maps.right[m] =
        Tile::by_depth
            ? tensor_map(BoxedMatrix{member.weight, member.depth, p.columns, depth_block, 64})
            : tensor_map(BoxedMatrix{member.weight, p.columns, member.depth, Tile::columns, depth_block});
  }
  maps.out = tensor_map(BoxedMatrix{p.out, p.rows, p.columns, 64, store_columns});
  w.bias = static_cast<const Bf16*>(p.bias);
  w.rows = static_cast<int>(p.rows);
  w.columns = static_cast<int>(p.columns);
  w.row_tiles = ceil_div(p.rows, Tile::rows);
  w.column_tiles = ceil_div(p.columns, Tile::columns);
  const int blocks = std::min(w.row_tiles * w.column_tiles, multiprocessors());
  launch_kernel(multiply_with_factors<Tile>,
                {static_cast<unsigned>(blocks), Tile::threads, Tile::shared_bytes}, stream,
                "a product with an adapter", maps, w);
}

using Launch = void (*)(const LowRankProduct&, cudaStream_t);

template <bool ByDepth>
constexpr Launch launches[] = {
    launch<TileShape<2, 256, ByDepth, 4>>, launch<TileShape<2, 224, ByDepth, 4>>,
    launch<TileShape<2, 128, ByDepth, 6>>, launch<TileShape<1, 128, ByDepth, 6>>,
    launch<TileShape<1, 64, ByDepth, 8>>,  launch<TileShape<1, 32, ByDepth, 10>>,
};

}  // namespace

int low_rank_product_ways(const LowRankProduct& p) {
  constexpr std::int64_t most = 1 << 30;  // numbers are 32 bits wide in the kernel
  const auto is_aligned = [](const void* address) {
    return reinterpret_cast<std::uintptr_t>(address) % 16 == 0;
  };
  std::int64_t ranks = 0;
  const auto takes_member = [&](const LowRankProduct::Member& m) {
    ranks += (m.rank + 15) / 16 * 16;
    return m.depth > 0 && m.depth % 8 == 0 && m.depth < most && is_aligned(m.x) && is_aligned(m.weight) &&
           is_aligned(m.t) && is_aligned(m.b);
  };
  const auto members = p.terms();
  const bool takes =
      compute_capability() == 90 && std::all_of(members.begin(), members.end(), takes_member) && ranks > 0 &&
      ranks <= LowRankProduct::most_rank && p.rows > 0 && p.columns > 0 && p.columns % 8 == 0 &&
      p.rows < most && p.columns < most && is_aligned(p.out) && is_aligned(p.bias);
  return takes ? static_cast<int>(std::size(launches<false>)) : 0;
}

void launch_low_rank_product(const LowRankProduct& p, int way, cudaStream_t stream) {
  (p.transposed ? launches<true> : launches<false>)[way](p, stream);
}

}  // namespace wick::cuda
