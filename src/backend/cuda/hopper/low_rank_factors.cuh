#pragma once

#include "backend/cuda/hopper/low_rank_tiles.cuh"
#include "backend/cuda/lora_numbers.cuh"

// What three warps bring of the factors of a product, f32 in memory and bf16 for products.
namespace wick::cuda::hopper::low_rank {

/// Eight neighbours of a matrix of f32.
struct Piece {
  float x[8];
  __device__ uint4 rounded() const {
    return {pack<Bf16>(x[0], x[1]), pack<Bf16>(x[2], x[3]), pack<Bf16>(x[4], x[5]), pack<Bf16>(x[6], x[7])};
  }
};

/// Without branches, so that several are on their way at once: of what is not `inside`, zeros.
__device__ inline Piece read_eight(const float* from, bool inside) {
  constexpr float4 zeros{};
  const auto x = inside ? *reinterpret_cast<const float4*>(from) : zeros;
  const auto y = inside ? *reinterpret_cast<const float4*>(from + 4) : zeros;
  return {{x.x, x.y, x.z, x.w, y.x, y.y, y.z, y.w}};
}
/// The first `count` of eight, wherever they lie.
__device__ inline Piece read_some(const float* from, int count) {
  Piece piece;
#pragma unroll
  for (int j = 0; j < 8; ++j) piece.x[j] = j < count ? from[j] : 0.0f;
  return piece;
}

__device__ inline void write_line(unsigned char* to, int line, int piece, const uint4& value) {
  *reinterpret_cast<uint4*>(to + line * line_bytes + ((piece ^ line) & 7) * 16) = value;
}
/// A line of 64 bytes.
__device__ inline void write_short_line(unsigned char* to, int line, int piece, const uint4& value) {
  *reinterpret_cast<uint4*>(to + line * line_bytes / 2 + ((piece ^ line / 2) & 3) * 16) = value;
}

/// What a thread of `fillers` brings of a factor; more than `Held` pieces are brought in rounds.
template <int Held>
class HeldPieces {
 public:
  __device__ HeldPieces(int count, int filler) : count_(count), filler_(filler) {}
  /// Whether there is something in a round.
  __device__ bool has(int round) const { return round * Held * fillers < count_; }
  /// As they are in memory; while they come, other things may be done.
  struct Raw {
    Piece x[Held];
  };
  template <typename Read>
  __device__ Raw read(int round, const Read& read_piece) const {
    Raw raw;
#pragma unroll
    for (int i = 0; i < Held; ++i) raw.x[i] = read_piece(min(place(round, i), count_ - 1));
    return raw;
  }
  __device__ void keep(const Raw& raw) {
#pragma unroll
    for (int i = 0; i < Held; ++i) pieces_[i] = raw.x[i].rounded();
  }
  template <typename Write>
  __device__ void write(int round, const Write& write_piece) const {
#pragma unroll
    for (int i = 0; i < Held; ++i)
      if (place(round, i) < count_) write_piece(place(round, i), pieces_[i]);
  }

 private:
  __device__ int place(int round, int i) const { return (round * Held + i) * fillers + filler_; }

  int count_, filler_;
  uint4 pieces_[Held];
};

/// Factors as one block of the depth, side by side those of members [first, end). What lies behind a member's
/// rank, up to a multiple of 16, is zero.
template <typename Tile, bool Whole>
class Factors {
 public:
  __device__ Factors(const Work& w, const Place& at, int first, int end)
      : w_(w), at_(at), first_(first), end_(end), pieces_(0) {
    for (int m = first; m < end; ++m) pieces_ += w.members[m].pieces;
  }
  /// Pieces of the rows of t, and of b.
  __device__ int left_count() const { return Tile::rows * pieces_; }
  __device__ int right_count() const {
    return (Tile::by_depth ? Tile::blocks * 64 : Tile::columns) * pieces_;
  }
  __device__ Piece read_left(int i) const { return read_row(&Member::t, i, at_.row, w_.rows); }
  __device__ Piece read_right(int i) const {
    if constexpr (!Tile::by_depth) return read_row(&Member::b, i, at_.column, w_.columns);
    const auto [member, rank] = member_at(i / line_pieces, 8);
    const int column = at_.column + i % line_pieces * 8;
    return read_eight(member.b + static_cast<std::int64_t>(rank) * w_.columns + column,
                      rank < member.rank && column < w_.columns);
  }
  __device__ void write_left(unsigned char* to, int i, const uint4& piece) const {
    write_line(to, i / pieces_, i % pieces_, piece);
  }
  __device__ void write_right(unsigned char* to, int i, const uint4& piece) const {
    if constexpr (!Tile::by_depth) return write_left(to, i, piece);
    write_line(to + i % line_pieces / 8 * block_bytes, i / line_pieces, i % 8, piece);
  }

 private:
  static constexpr int line_pieces = Tile::blocks * 8;
  struct MemberPlace {
    const Member& member;
    int i;
  };
  /// Whose factors have what is the i-th of all, `each` of which are in a piece; and its place among the
  /// member's.
  __device__ MemberPlace member_at(int i, int each) const {
    int found = first_;
#pragma unroll
    for (int m = 0; m + 1 < most_members; ++m) {
      const bool is_behind = m == found && m + 1 < end_ && i >= w_.members[m].pieces * each;
      i -= is_behind ? w_.members[m].pieces * each : 0;
      found += is_behind;
    }
    return {w_.members[found], i};
  }
  /// Of matrices [end, rank]; those of `Whole` ranks are multiples of 8.
  __device__ Piece read_row(const float* Member::*matrix, int i, int first, int end) const {
    const int row = first + i / pieces_;
    const auto [member, piece] = member_at(i % pieces_, 1);
    const int rank = piece * 8;
    const float* const from = member.*matrix + static_cast<std::int64_t>(row) * member.rank + rank;
    const bool inside = row < end && rank < member.rank;
    if constexpr (Whole) return read_eight(from, inside);
    return read_some(from, inside ? member.rank - rank : 0);
  }

  const Work& w_;
  Place at_;
  int first_, end_;
  int pieces_;
};

/// Three warps: bring the factors of all members, reading a tile's before their stage is free.
template <typename Tile, bool Whole>
__device__ void fill(const Memory<Tile>& memory, const Work& w, int filler) {
  constexpr int left_held = (Tile::rows * 2 + fillers - 1) / fillers;
  const Steps<Tile> steps(w);
  begin_in_order();
  unsigned parities = 0;
  int step = steps.count() - 1;
  for (int tile = blockIdx.x; tile < w.tiles(); tile += gridDim.x, step += steps.count()) {
    const Factors<Tile, Whole> factors(w, place_of<Tile>(w, tile), 0, w.count);
    const int stage = step % Tile::stages;
    HeldPieces<left_held> left(factors.left_count(), filler);
    HeldPieces<right_held<Tile>> right(factors.right_count(), filler);
    for (int round = 0; left.has(round) || right.has(round); ++round) {
      left.keep(left.read(round, [&](int i) { return factors.read_left(i); }));
      right.keep(right.read(round, [&](int i) { return factors.read_right(i); }));
      if (round == 0) memory.fill[stage].wait(parities >> stage & 1);
      left.write(round, [&](int i, const uint4& x) { factors.write_left(memory.left(stage), i, x); });
      right.write(round, [&](int i, const uint4& x) { factors.write_right(memory.right(stage), i, x); });
    }
    parities ^= 1u << stage;
    fence_for_async();
    sync_threads(1, fillers);
    if (filler == 0) memory.full[stage].arrive();
  }
}

/// A warp: a block of a member's a, high and low parts of which lie side by side, as the weight's do.
template <typename Tile, bool Whole>
class ProjectionPieces {
 public:
  __device__ void read(const Member& m, int depth) {
#pragma unroll
    for (int i = 0; i < count; ++i) {
      const int all = i * 32 + static_cast<int>(threadIdx.x) % 32;
      if constexpr (!Tile::by_depth) {
        const int rank = all / 8;
        const int first = depth + all % 8 * 8;
        pieces_[i] = read_eight(m.a + static_cast<std::int64_t>(rank) * m.depth + first,
                                rank < m.rank && first < m.depth);
      } else {
        const int line = depth + all / 2;
        const int first = all % 2 * 8;
        const float* const from = m.a + static_cast<std::int64_t>(line) * m.rank + first;
        const bool inside = line < m.depth && first < m.rank;
        if constexpr (Whole)
          pieces_[i] = read_eight(from, inside);
        else
          pieces_[i] = read_some(from, inside ? m.rank - first : 0);
      }
    }
  }
  __device__ void write(unsigned char* to) const {
#pragma unroll
    for (int i = 0; i < count; ++i) {
      const int all = i * 32 + static_cast<int>(threadIdx.x) % 32;
      const float* const x = pieces_[i].x;
      const SplitPair s[] = {{x[0], x[1]}, {x[2], x[3]}, {x[4], x[5]}, {x[6], x[7]}};
      const uint4 high{s[0].high, s[1].high, s[2].high, s[3].high};
      const uint4 low{s[0].low, s[1].low, s[2].low, s[3].low};
      if constexpr (!Tile::by_depth) {
        write_line(to, all / 8, all % 8, high);
        write_line(to, own_ranks + all / 8, all % 8, low);
      } else {
        write_short_line(to, all / 2, all % 2, high);
        write_short_line(to, all / 2, 2 + all % 2, low);
      }
    }
  }

 private:
  static constexpr int count = own_ranks * depth_block / 8 / 32;
  Piece pieces_[count];
};

/// The fillers of a block whose tiles project, or read what others have projected.
template <typename Tile, bool Whole>
class ProjectingFillers {
 public:
  __device__ ProjectingFillers(const Memory<Tile>& memory, const Work& w, int filler)
      : memory_(memory), w_(w), filler_(filler), warp_(filler / 32) {}

  __device__ void run() {
    begin_in_order();
    for (int tile = blockIdx.x; tile < w_.tiles(); tile += gridDim.x) {
      const Place at = place_of<Tile>(w_, tile);
      const bool reads = w_.reads_projections(at.column);  // and so do all tiles behind it
      for (int m = 0; m < w_.count; ++m) reads ? read(at, m) : project(at, m);
    }
  }

 private:
  using TileFactors = Factors<Tile, Whole>;

  /// The stage of a step, as soon as nobody reads it any more.
  __device__ int wait_for(unsigned step) const {
    const int stage = static_cast<int>(step % Tile::stages);
    memory_.empty[stage].wait(static_cast<int>(step / Tile::stages & 1) ^ 1);
    return stage;
  }
  /// The first block of a member that is this warp's turn.
  __device__ int first_turn() const {
    return static_cast<int>((warp_ + filler_warps - steps_ % filler_warps) % filler_warps);
  }
  /// A step that all warps filled has as many arrivals as one of a warp.
  __device__ void finish(int stage) const {
    fence_for_async();
    sync_threads(1, fillers);
    if (warp_ == 0) memory_.full[stage].arrive();
  }

  /// The warps take turns at the blocks of the depth, and share what is at the end. All lanes of a warp
  /// arrive, so that each orders its own writes before those of the next turn.
  __device__ void project(const Place& at, int m) {
    const Member& member = w_.members[m];
    if (member.rank == 0) return pass(member.blocks);
    ProjectionPieces<Tile, Whole> pieces;
    const auto bring_block = [&](int block) {
      const int stage = wait_for(steps_ + block);
      pieces.write(memory_.factor(stage));
      fence_for_async();
      memory_.full[stage].arrive();
    };
    const int first = first_turn();
    const TileFactors factors(w_, at, m, m + 1);
    const auto read_right = [&](int i) { return factors.read_right(i); };
    HeldPieces<(right_held<Tile> + 1) / 2> near(factors.right_count(), filler_);
    auto far = near;
    pieces.read(member, first * depth_block);
    const auto raw = near.read(0, read_right);
    if (first < member.blocks) bring_block(first);  // the others are on their way
    near.keep(raw);
    if (far.has(1)) far.keep(far.read(1, read_right));
    for (int block = first + filler_warps; block < member.blocks; block += filler_warps) {
      pieces.read(member, block * depth_block);
      bring_block(block);
    }
    steps_ += member.blocks;
    const int stage = wait_for(steps_++);
    const auto write_right = [&](int i, const uint4& x) { factors.write_right(memory_.right(stage), i, x); };
    near.write(0, write_right);
    far.write(1, write_right);
    finish(stage);
  }

  /// Blocks of the depth into which nothing is filled. Their stages are waited for all the same: a barrier
  /// tells no more than two phases apart.
  __device__ void pass(int blocks) {
    for (int block = first_turn(); block < blocks; block += filler_warps) wait_for(steps_ + block);
    steps_ += blocks;
  }

  /// Reads factors once t is there, before their stage is free. Meanwhile barriers of stages go on; the one
  /// that is waited for does not.
  __device__ void read(const Place& at, int m) {
    steps_ += w_.members[m].blocks;
    if (w_.members[m].rank == 0) return;
    const TileFactors factors(w_, at, m, m + 1);
    HeldPieces<right_held<Tile>> right(factors.right_count(), filler_);
    HeldPieces<(Tile::rows * 2 + fillers - 1) / fillers> left(factors.left_count(), filler_);
    right.keep(right.read(0, [&](int i) { return factors.read_right(i); }));
    if (filler_ < Tile::groups) {
      const unsigned int* const ready = w_.ready + at.row / 64 + filler_;
      while (load_acquire(ready) <= static_cast<unsigned int>(m)) __nanosleep(100);
    }
    sync_threads(1, fillers);
    left.keep(left.read(0, [&](int i) { return factors.read_left(i); }));
    const auto stage = static_cast<int>(steps_++ % Tile::stages);
    memory_.fill[stage].wait(static_cast<int>(parities_ >> stage & 1));
    parities_ ^= 1u << stage;
    left.write(0, [&](int i, const uint4& x) { factors.write_left(memory_.left(stage), i, x); });
    right.write(0, [&](int i, const uint4& x) { factors.write_right(memory_.right(stage), i, x); });
    finish(stage);
  }

  const Memory<Tile>& memory_;
  const Work& w_;
  int filler_, warp_;
  unsigned steps_ = 0;     ///< behind which the member begins
  unsigned parities_ = 0;  ///< of the stages' waits for factors
};

}  // namespace wick::cuda::hopper::low_rank
