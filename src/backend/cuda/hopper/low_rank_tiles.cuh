#pragma once

#include <algorithm>

#include "backend/cuda/device/launch_order.cuh"
#include "backend/cuda/hopper/instructions.cuh"
#include "backend/cuda/hopper/low_rank_product.h"
#include "backend/cuda/tensor_core.cuh"

// Tiles of a product with thin factors (low_rank_product.h), and the copies of what they multiply: to the
// loop over the depth, members of a sum are more of it, and so are factors: a block of (t, b) among those of
// (x, weight).
namespace wick::cuda::hopper::low_rank {

constexpr int depth_block = 64;
constexpr int line_bytes = 128;  // of such a block
constexpr int block_bytes = 64 * line_bytes;
constexpr int store_columns = 32;  // of a box of the output
constexpr int store_bytes = 64 * store_columns * 2;
constexpr int most_shared_bytes = 227 * 1024;
constexpr int group_threads = 128;
constexpr int filler_warps = 3;
constexpr int fillers = filler_warps * 32;  // threads that bring the factors
constexpr int filling_lanes = 32;           // that arrive for what was filled into a stage
constexpr int own_ranks = 16;               // of a member that projects

constexpr int most_members = LowRankProduct::most_members;

struct Maps {
  CUtensorMap left[most_members];
  CUtensorMap right[most_members];
  CUtensorMap out;
};

struct Member {
  const float* t;
  const float* a;
  const float* b;
  float* t_out;
  float scale;
  int depth, rank;
  int blocks;  ///< of the depth
  int pieces;  ///< of 8 ranks, an even number
};

/// What the kernel reads besides the matrices, and the order of its tiles: bands of some columns, row by row.
/// Where tiles share what the first column of them projects, that one comes ahead of all bands.
struct Work {
  Member members[most_members];
  const Bf16* bias;
  unsigned int* ready;  ///< for 64 rows each, of how many members t has been projected; null: no tile shares
  bool whole_ranks;     ///< multiples of 8
  int count;
  int rows, columns;
  int blocks;  ///< of the depth of all members
  int pieces;  ///< of the ranks of all members
  int row_tiles, column_tiles;
  __device__ int tiles() const { return row_tiles * column_tiles; }
  /// Whether the tile that begins at this column reads what another one projects.
  __device__ bool reads_projections(int column) const { return ready && column > 0; }
};

struct Place {
  int row;
  int column;
};

template <typename Tile>
__device__ Place place_of(const Work& w, int tile) {
  constexpr int band = 8;
  const int ahead = w.ready ? 1 : 0;
  if (ahead && tile < w.row_tiles) return {tile * Tile::rows, 0};
  tile -= ahead * w.row_tiles;
  const int first = ahead + tile / (band * w.row_tiles) * band;
  const int width = min(band, w.column_tiles - first);
  const int rest = tile - (first - ahead) * w.row_tiles;
  return {rest / width * Tile::rows, (first + rest % width) * Tile::columns};
}

/// A tile of the output: 64 rows for each of one or two groups of warps. `by_depth`: the weight's lines are
/// of one depth (transposed weights), in blocks of 64 columns. A tile that `projects` computes t as well.
template <int Groups, int Columns, bool ByDepth, int Stages, bool Projects>
struct TileShape {
  static constexpr int groups = Groups;
  static constexpr int rows = Groups * 64;
  static constexpr int columns = Columns;
  static constexpr bool by_depth = ByDepth;
  static constexpr int stages = Stages;
  static constexpr bool projects = Projects;
  static constexpr int threads = (Groups + 1) * group_threads;
  static constexpr int blocks = (Columns + 63) / 64;
  static constexpr int left_bytes = rows * line_bytes;
  static constexpr int right_bytes = ByDepth ? blocks * block_bytes : Columns * line_bytes;
  static constexpr int factor_bytes = Projects ? 2 * own_ranks * line_bytes : 0;
  static constexpr int stage_bytes = left_bytes + right_bytes + factor_bytes;
  static constexpr int barrier_bytes = 3 * Stages * static_cast<int>(sizeof(Barrier));
  static constexpr int held_bytes = 1024 + Stages * stage_bytes + barrier_bytes;
  /// Boxes of the output that a group has room for.
  static constexpr int stores = Columns / store_columns;
  static constexpr int stores_at_once =
      std::min(stores, (most_shared_bytes - held_bytes) / (Groups * store_bytes));
  static constexpr int shared_bytes = held_bytes + Groups * stores_at_once * store_bytes;
};

/// Pieces of b that a filler reads ahead: all of a member of up to 16 ranks.
template <typename Tile>
inline constexpr int right_held = (Tile::blocks * 64 * 2 + fillers - 1) / fillers;

/// Shared memory; a stage holds a block of the depth of x, then of the weight, then of a's high and low
/// parts.
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
  __device__ unsigned char* factor(int stage) const { return right(stage) + Tile::right_bytes; }

  unsigned char* stages;
  unsigned char* out;
  Barrier* full;
  Barrier* empty;
  Barrier* fill;  ///< a stage waits for the factors
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

/// A block of a member's depth, or its factors.
struct Step {
  int member;
  int depth;  ///< negative: the factors
};

/// The steps of a tile: members' blocks, and behind them their factors, so that reading these has time. Where
/// t is given, the factors of all members are one step.
template <typename Tile>
class Steps {
 public:
  __device__ explicit Steps(const Work& w) : w_(w), count_(w.blocks + 1) {
    for (int m = 1; m < w.count; ++m) count_ += Tile::projects && w.members[m].rank > 0;
  }
  __device__ int count() const { return count_; }
  __device__ Step operator[](int i) const {
    for (int m = 0; m < w_.count; ++m) {
      if (i < w_.members[m].blocks) return {m, i * depth_block};
      i -= w_.members[m].blocks;
      if (!Tile::projects || w_.members[m].rank == 0) continue;
      if (i == 0) return {m, -1};
      --i;
    }
    return {0, -1};
  }

 private:
  const Work& w_;
  int count_;
};

/// One thread: starts all copies.
template <typename Tile>
__device__ void produce(const Memory<Tile>& memory, const Maps& maps, const Work& w) {
  const Steps<Tile> steps(w);
  Ring ring{0, 1};
  int tile = blockIdx.x;
  Place at = place_of<Tile>(w, tile);
  begin_in_order();
  for (; tile < w.tiles(); tile += gridDim.x, at = place_of<Tile>(w, tile)) {
    for (int i = 0; i < steps.count(); ++i, ring.next<Tile>()) {
      const auto [member, depth] = steps[i];
      memory.empty[ring.stage].wait(ring.parity);
      Barrier& full = memory.full[ring.stage];
      if (depth < 0) {
        if (Tile::projects) full.arrive();
        if (!Tile::projects || w.reads_projections(at.column)) memory.fill[ring.stage].arrive();
        continue;
      }
      full.arrive_expecting(Tile::left_bytes + Tile::right_bytes);
      if (Tile::projects && (w.members[member].rank == 0 || w.reads_projections(at.column)))
        full.arrive(filling_lanes);  // nothing is filled in
      load_box(memory.left(ring.stage), maps.left[member], depth, at.row, full);
      unsigned char* const to = memory.right(ring.stage);
      if constexpr (Tile::by_depth) {
        for (int b = 0; b < Tile::blocks; ++b)
          load_box(to + b * block_bytes, maps.right[member], at.column + b * 64, depth, full);
      } else {
        load_box(to, maps.right[member], depth, at.column, full);
      }
    }
  }
}

}  // namespace wick::cuda::hopper::low_rank
