#include <algorithm>

#include "backend/cuda/device/launch_order.cuh"
#include "backend/cuda/gpu.h"
#include "backend/cuda/hopper/thin_linear.h"
#include "backend/cuda/launch_kernel.h"
#include "backend/cuda/tensor_core.cuh"
#include "backend/cuda/thin_linear.cuh"

// Some rows of short depth, which a block keeps in registers, normed on the way there. It goes from 16 rows
// of the matrices, its lines, to the next, and copies those that come then meanwhile. The warps split the
// depth, and sums over it need no order of their own: a thread takes 16 bytes that lie together for what two
// products of the tensor cores want from two places each.
namespace wick::cuda::hopper {
namespace {

constexpr int warps = 8;
constexpr int threads = warps * 32;
constexpr int depth_chunk = 32;  // elements of the depth that a warp takes at once
constexpr int chunks = 4;        // of a warp
constexpr int most_depth = warps * chunks * depth_chunk;
constexpr int stages = 4;
constexpr int lines = 16;  // of a stage; of a gated layer 8 of each matrix

/// From one line in shared memory to the next, so that 8 of them are read without conflicts of banks.
__device__ __host__ constexpr int line_bytes(int depth) { return (depth * 2 + 63) / 128 * 128 + 64; }

/// As MatrixRow, but parts are chosen among, not indexed: a kernel's parameters are slow to read at an
/// address that is computed, and here that stands in the way of every tile.
struct Line {
  int part = 0;
  int row;
  __device__ Line(const ThinLinearProblem& p, int output, int half) : row(output) {
    if (p.gated) {
      part = half;
      return;
    }
#pragma unroll
    for (int i = 0; i + 1 < ThinLinearProblem::most_parts; ++i)
      if (part == i && i + 1 < p.part_count && row >= p.parts[i].outputs) {
        row -= p.parts[i].outputs;
        part = i + 1;
      }
  }
  __device__ const Bf16* begin(const ThinLinearProblem& p) const {
    const void* matrix = p.parts[0].matrix;
#pragma unroll
    for (int i = 1; i < ThinLinearProblem::most_parts; ++i)
      if (part == i) matrix = p.parts[i].matrix;
    return static_cast<const Bf16*>(matrix) + static_cast<std::int64_t>(row) * p.depth;
  }
  __device__ float bias(const ThinLinearProblem& p) const {
    const void* bias = p.parts[0].bias;
#pragma unroll
    for (int i = 1; i < ThinLinearProblem::most_parts; ++i)
      if (part == i) bias = p.parts[i].bias;
    return bias ? read(static_cast<const Bf16*>(bias)[row]) : 0.0f;
  }
};

/// A warp's part of x, of up to `Rows` rows, as left operands of the tensor cores: 16 bytes a chunk that lie
/// together, of which each half is this thread's part of one product.
template <int Rows>
struct RowsInRegisters {
  static constexpr int groups = Rows / 16;
  LeftTile x[chunks][groups][2];

  __device__ static int row() { return static_cast<int>(threadIdx.x) % 32 / 4; }
  /// Where in the depth this thread's first 16 bytes lie; the others are `warps` chunks further each.
  __device__ static int first() {
    return static_cast<int>(threadIdx.x) / 32 * depth_chunk + static_cast<int>(threadIdx.x) % 4 * 8;
  }

  /// With a norm, times its weights, and the sums of squares of the warp go to `squares`.
  template <bool normed>
  __device__ void load(const ThinLinearProblem& p, float (&squares)[Rows]) {
    uint4 weights[normed ? chunks : 1];
#pragma unroll
    for (int c = 0; c < chunks; ++c) {
      const int k = first() + c * (warps * depth_chunk);
      const auto part = [&](int line) {
        const auto* const from = static_cast<const Bf16*>(p.x) + static_cast<std::int64_t>(line) * p.depth;
        return k < p.depth && line < p.rows ? *reinterpret_cast<const uint4*>(from + k) : uint4{};
      };
#pragma unroll
      for (int g = 0; g < groups; ++g) {
        const uint4 upper = part(g * 16 + row());
        const uint4 lower = part(g * 16 + row() + 8);
        x[c][g][0] = {upper.x, lower.x, upper.y, lower.y};
        x[c][g][1] = {upper.z, lower.z, upper.w, lower.w};
      }
      if constexpr (normed)
        weights[c] =
            k < p.depth ? *reinterpret_cast<const uint4*>(static_cast<const Bf16*>(p.norm) + k) : uint4{};
    }
    if constexpr (normed) {
#pragma unroll
      for (int g = 0; g < groups; ++g) {
        float sums[2] = {};
#pragma unroll
        for (int c = 0; c < chunks; ++c)
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            const std::uint32_t of[2] = {i < 2 ? weights[c].x : weights[c].y,
                                         i < 2 ? weights[c].z : weights[c].w};
#pragma unroll
            for (int h = 0; h < 2; ++h) x[c][g][h].x[i] = weighted(x[c][g][h].x[i], of[h], sums[i % 2]);
          }
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          sums[h] += __shfl_xor_sync(~0u, sums[h], 1);
          sums[h] += __shfl_xor_sync(~0u, sums[h], 2);
          if (threadIdx.x % 4 == 0) squares[g * 16 + h * 8 + row()] = sums[h];
        }
      }
    }
  }

  /// Adds to `sums` the products of chunk `c` and 8 lines, of one of which this thread has 16 bytes.
  __device__ void multiply(SumTile (&sums)[groups], int c, const uint4& line) const {
#pragma unroll
    for (int g = 0; g < groups; ++g) {
      multiply_add<Bf16>(sums[g], x[c][g][0], {line.x, line.y});
      multiply_add<Bf16>(sums[g], x[c][g][1], {line.z, line.w});
    }
  }

 private:
  __device__ static std::uint32_t weighted(std::uint32_t pair, std::uint32_t weight, float& squares) {
    squares = fmaf(low_of(pair), low_of(pair), fmaf(high_of(pair), high_of(pair), squares));
    std::uint32_t product;
    asm("mul.rn.bf16x2 %0, %1, %2;" : "=r"(product) : "r"(pair), "r"(weight));
    return product;
  }
};

/// Sums of the warps, [warp][row of x][line], whose rows lie apart in banks.
template <int Rows>
struct WarpSums {
  float at[warps][Rows][lines + 8];

  /// Of 8 lines from `line` on.
  template <int groups>
  __device__ void store(const SumTile (&sums)[groups], int line) {
    const int warp = static_cast<int>(threadIdx.x) / 32;
    const int row = static_cast<int>(threadIdx.x) % 32 / 4;
    const int column = line + static_cast<int>(threadIdx.x) % 4 * 2;
#pragma unroll
    for (int g = 0; g < groups; ++g)
#pragma unroll
      for (int h = 0; h < 2; ++h)
        *reinterpret_cast<float2*>(&at[warp][g * 16 + h * 8 + row][column]) = {sums[g].x[h * 2],
                                                                               sums[g].x[h * 2 + 1]};
  }
  /// Of two lines.
  __device__ float2 total(int row, int line) const {
    float2 sum{};
#pragma unroll
    for (int w = 0; w < warps; ++w) {
      const float2 part = *reinterpret_cast<const float2*>(&at[w][row][line]);
      sum.x += part.x;
      sum.y += part.y;
    }
    return sum;
  }
};

template <int Rows>
struct Memory {
  float squares[warps][Rows];
  float scales[Rows];
};

/// Two neighbours of an output row, which a thread ends: what is added to them is read long before.
struct Pair {
  int row;
  int line;      // of a tile
  float2 add{};  // biases, unless gated, and residual

  __device__ Pair(int item, int outputs) : row(item / (outputs / 2)), line(item % (outputs / 2) * 2) {}
  __device__ void load(const ThinLinearProblem& p, int begin) {
    if (p.residual || p.parts[0].bias) add = {addend(p, begin + line), addend(p, begin + line + 1)};
  }
  __device__ float addend(const ThinLinearProblem& p, int output) const {
    if (row >= p.rows || output >= p.outputs) return 0;
    const float residual =
        p.residual ? read(static_cast<const Bf16*>(p.residual)[std::int64_t{row} * p.outputs + output])
                   : 0.0f;
    return p.gated ? residual : residual + Line(p, output, 0).bias(p);
  }
  template <int Rows>
  __device__ void end(const ThinLinearProblem& p, const WarpSums<Rows>& sums, float scale, int begin) const {
    const int output = begin + line;
    if (row >= p.rows || output >= p.outputs) return;
    float2 result = sums.total(row, line);
    result = {result.x * scale, result.y * scale};
    if (p.gated) {
      const float2 up = sums.total(row, line + lines / 2);
      result = {gated_one(p, output, result.x, up.x * scale),
                gated_one(p, output + 1, result.y, up.y * scale)};
    }
    result = {result.x + add.x, result.y + add.y};
    auto* const to = static_cast<Bf16*>(p.out) + std::int64_t{row} * p.outputs + output;
    if (p.outputs % 2 == 0) {
      *reinterpret_cast<std::uint32_t*>(to) = pack<Bf16>(result.x, result.y);
      return;
    }
    to[0] = written<Bf16>(result.x);
    if (output + 1 < p.outputs) to[1] = written<Bf16>(result.y);
  }

 private:
  __device__ static float gated_one(const ThinLinearProblem& p, int output, float gate, float up) {
    if (output >= p.outputs) return 0;
    return gated(gate + Line(p, output, 0).bias(p), up + Line(p, output, 1).bias(p));
  }
};

template <int Rows, bool normed>
__global__ void __launch_bounds__(threads, 1)
    multiply_stream(const __grid_constant__ ThinLinearProblem p, const int tiles) {
  using X = RowsInRegisters<Rows>;
  extern __shared__ __align__(128) unsigned char dynamic[];
  __shared__ Memory<Rows> memory;
  let_next_begin();
  const int step = line_bytes(p.depth);
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int outputs = p.gated ? lines / 2 : lines;  // of a tile
  const auto first_tile = static_cast<int>(blockIdx.x);
  const auto walkers = static_cast<int>(gridDim.x);
  const int count = (tiles - first_tile + walkers - 1) / walkers;
  auto* const sums = reinterpret_cast<WarpSums<Rows>*>(dynamic);
  unsigned char* const stage_memory = dynamic + (tiles > walkers ? 2 : 1) * sizeof(WarpSums<Rows>);
  const auto begin_of = [&](int i) { return (first_tile + i * walkers) * outputs; };
  const auto load = [&](int i) {
    if (i < count) {
      unsigned char* const stage = stage_memory + i % stages * lines * step;
#pragma unroll
      for (int line = warp; line < lines; line += warps) {
        const int output = begin_of(i) + (p.gated ? line % (lines / 2) : line);
        const Bf16* const row = Line(p, min(output, p.outputs - 1), line / (lines / 2)).begin(p);
#pragma unroll
        for (int j = 0; j < most_depth / 256; ++j) {
          const int k = static_cast<int>(threadIdx.x) % 32 * 8 + j * 256;
          if (k < p.depth) copy_async(stage + line * step + k * 2, row + k, true);
        }
      }
    }
    commit_copies();
  };
  if (!p.constant) wait_for_kernels_ahead();
  for (int i = 0; i < stages; ++i) load(i);
  wait_for_kernels_ahead();

  X x;
  x.template load<normed>(p, memory.squares[warp]);
  Pair own(static_cast<int>(threadIdx.x), outputs);
  const auto end = [&](int i) {
    const float scale = normed && own.row < Rows ? memory.scales[own.row] : 1.0f;
    own.end(p, sums[i % 2], scale, begin_of(i));
  };
  for (int i = 0; i < count; ++i) {
    if (i == 0)
      wait_copies<stages - 1>();
    else
      wait_copies<stages - 2>();
    __syncthreads();  // nobody reads the stage ahead any more
    if (i > 0) {
      load(i - 1 + stages);
      end(i - 1);
    } else if (normed && threadIdx.x < Rows) {
      float squares = 0;
#pragma unroll
      for (int w = 0; w < warps; ++w) squares += memory.squares[w][threadIdx.x];
      memory.scales[threadIdx.x] = inverse_rms(p, squares);
    }
    own.load(p, begin_of(i));
    const unsigned char* const stage = stage_memory + i % stages * lines * step + X::row() * step;
    SumTile parts[lines / 8][X::groups];
#pragma unroll
    for (int c = 0; c < chunks; ++c) {
      const int k = X::first() + c * (warps * depth_chunk);
#pragma unroll
      for (int h = 0; h < lines / 8; ++h)
        x.multiply(parts[h], c,
                   k < p.depth ? *reinterpret_cast<const uint4*>(stage + h * 8 * step + k * 2) : uint4{});
    }
#pragma unroll
    for (int h = 0; h < lines / 8; ++h) sums[i % 2].store(parts[h], h * 8);
  }
  __syncthreads();
  end(count - 1);
}

template <int Rows>
void launch(const ThinLinearProblem& p, cudaStream_t stream) {
  const int outputs = p.gated ? lines / 2 : lines;
  const int tiles = (p.outputs + outputs - 1) / outputs;
  const int blocks = std::min(tiles, multiprocessors());
  const int most = (tiles + blocks - 1) / blocks;  // tiles of a block
  launch_kernel(p.norm ? multiply_stream<Rows, true> : multiply_stream<Rows, false>,
                {.blocks = static_cast<unsigned>(blocks),
                 .threads = threads,
                 .shared = std::min(most, 2) * sizeof(WarpSums<Rows>) +
                           static_cast<std::size_t>(std::min(most, stages) * lines * line_bytes(p.depth)),
                 .hands_over = true},
                stream, "a linear layer of some rows", p, tiles);
}

}  // namespace

bool streams_thin_linear(DType dtype, const ThinLinearProblem& p) {
  return dtype == DType::bf16 && p.rows > 1 && p.rows <= 32 && p.depth <= most_depth;
}

void launch_streamed_thin_linear(const ThinLinearProblem& p, cudaStream_t stream) {
  if (p.rows <= 16)
    launch<16>(p, stream);
  else
    launch<32>(p, stream);
}

}  // namespace wick::cuda::hopper
