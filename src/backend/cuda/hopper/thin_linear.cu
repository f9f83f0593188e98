#include <algorithm>

#include "backend/cuda/device/launch_order.cuh"
#include "backend/cuda/gpu.h"
#include "backend/cuda/hopper/instructions.cuh"
#include "backend/cuda/hopper/thin_linear.h"
#include "backend/cuda/launch_kernel.h"
#include "backend/cuda/tensor_core.cuh"
#include "backend/cuda/thin_linear.cuh"

// Some rows of short depth, which a block keeps in registers, normed on the way there. It goes from 16 rows
// of the matrices, its lines, to the next, while the copy engine brings those that come then. The warps split
// the depth, and sums over it need no order of their own: a thread takes 16 bytes that lie together for what
// two products of the tensor cores want from two places each.
namespace wick::cuda::hopper {
namespace {

constexpr int warps = 4;
constexpr int threads = warps * 32;
constexpr int depth_chunk = 32;  // elements of the depth that a warp takes at once
constexpr int chunks = 7;        // of a warp
constexpr int most_depth = warps * chunks * depth_chunk;
constexpr int stages = 3;
constexpr int lines = 16;  // of a stage

/// From one line in shared memory to the next, so that 8 of them are read without conflicts of banks.
__device__ __host__ constexpr int line_bytes(int depth) { return depth * 2 + (depth % 64 == 0 ? 64 : 0); }

/// Starts the copy of a line to shared memory, which `done` counts.
__device__ void copy_line(void* to, const void* from, int bytes, Barrier& done) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
          shared_address(to)),
      "l"(from), "r"(bytes), "r"(shared_address(&done))
      : "memory");
}

__device__ float low_of(std::uint32_t pair) { return __uint_as_float(pair << 16); }
__device__ float high_of(std::uint32_t pair) { return __uint_as_float(pair & 0xffff0000); }

/// A warp's part of x, of up to `Rows` rows, as right operands of the tensor cores.
template <int Rows>
struct RowsInRegisters {
  static constexpr int groups = Rows / 8;  // of 8 columns
  uint4 x[chunks][groups];

  __device__ static int column() { return static_cast<int>(threadIdx.x) % 32 / 4; }
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
#pragma unroll
      for (int g = 0; g < groups; ++g) {
        const int row = g * 8 + column();
        const auto* const from = static_cast<const Bf16*>(p.x) + static_cast<std::int64_t>(row) * p.depth;
        x[c][g] = k < p.depth && row < p.rows ? *reinterpret_cast<const uint4*>(from + k) : uint4{};
      }
      if constexpr (normed)
        weights[c] =
            k < p.depth ? *reinterpret_cast<const uint4*>(static_cast<const Bf16*>(p.norm) + k) : uint4{};
    }
    if constexpr (normed) {
#pragma unroll
      for (int g = 0; g < groups; ++g) {
        float sum = 0;
#pragma unroll
        for (int c = 0; c < chunks; ++c) {
          uint4& to = x[c][g];
          to = {weighted(to.x, weights[c].x, sum), weighted(to.y, weights[c].y, sum),
                weighted(to.z, weights[c].z, sum), weighted(to.w, weights[c].w, sum)};
        }
        sum += __shfl_xor_sync(~0u, sum, 1);
        sum += __shfl_xor_sync(~0u, sum, 2);
        if (threadIdx.x % 4 == 0) squares[g * 8 + column()] = sum;
      }
    }
  }

  /// Adds to `sums` the products of 16 lines and chunk `c`, of which this thread has 16 bytes each of line
  /// `column()` and that plus 8.
  __device__ void multiply(SumTile (&sums)[groups], int c, const uint4& upper, const uint4& lower) const {
#pragma unroll
    for (int g = 0; g < groups; ++g) {
      multiply_add<Bf16>(sums[g], {upper.x, lower.x, upper.y, lower.y}, {x[c][g].x, x[c][g].y});
      multiply_add<Bf16>(sums[g], {upper.z, lower.z, upper.w, lower.w}, {x[c][g].z, x[c][g].w});
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

/// Sums of the warps, [warp][row of x][line], whose columns lie apart in banks.
template <int Rows>
struct WarpSums {
  float at[warps][Rows][lines + 4];

  template <int groups>
  __device__ void store(const SumTile (&sums)[groups]) {
    const int warp = static_cast<int>(threadIdx.x) / 32;
    const int group = static_cast<int>(threadIdx.x) % 32 / 4;
    const int quarter = static_cast<int>(threadIdx.x) % 4;
#pragma unroll
    for (int g = 0; g < groups; ++g)
#pragma unroll
      for (int e = 0; e < 4; ++e) at[warp][g * 8 + quarter * 2 + e % 2][group + e / 2 * 8] = sums[g].x[e];
  }
  __device__ float total(int row, int line) const {
    float sum = 0;
#pragma unroll
    for (int w = 0; w < warps; ++w) sum += at[w][row][line];
    return sum;
  }
};

template <int Rows>
struct Memory {
  Barrier full[stages];
  float squares[warps][Rows];
  float scales[Rows];
  WarpSums<Rows> sums;
};

template <int Rows, bool normed>
__global__ void __launch_bounds__(threads, 2)
    multiply_stream(const __grid_constant__ ThinLinearProblem p, const int tiles) {
  using X = RowsInRegisters<Rows>;
  extern __shared__ __align__(128) unsigned char dynamic[];
  __shared__ Memory<Rows> memory;
  let_next_begin();
  const int step = line_bytes(p.depth);
  const auto first_tile = static_cast<int>(blockIdx.x);
  const auto walkers = static_cast<int>(gridDim.x);
  const int count = (tiles - first_tile + walkers - 1) / walkers;
  /// By the first warp.
  const auto load = [&](int i) {
    const int begin = (first_tile + i * walkers) * lines;
    const int here = min(lines, p.outputs - begin);
    Barrier& full = memory.full[i % stages];
    const auto line = static_cast<int>(threadIdx.x);
    if (line == 0) full.arrive_expecting(here * p.depth * 2);
    __syncwarp();
    if (line < here)
      copy_line(dynamic + (i % stages * lines + line) * step, MatrixRow(p, begin + line, 0).begin<Bf16>(p),
                p.depth * 2, full);
  };
  if (!p.constant) wait_for_kernels_ahead();
  if (threadIdx.x < 32) {
    if (threadIdx.x == 0) {
      for (Barrier& full : memory.full) full.init(1);
      fence_for_async();
    }
    __syncwarp();
    for (int i = 0; i < min(stages, count); ++i) load(i);
  }
  __syncthreads();
  wait_for_kernels_ahead();

  X x;
  x.template load<normed>(p, memory.squares[threadIdx.x / 32]);
  if constexpr (normed) {
    __syncthreads();
    if (threadIdx.x < Rows) {
      float squares = 0;
#pragma unroll
      for (int w = 0; w < warps; ++w) squares += memory.squares[w][threadIdx.x];
      memory.scales[threadIdx.x] = inverse_rms(p, squares);
    }
  }

  for (int i = 0; i < count; ++i) {
    const unsigned char* const stage = dynamic + i % stages * lines * step + X::column() * step;
    memory.full[i % stages].wait(i / stages % 2);
    SumTile sums[X::groups];
#pragma unroll
    for (int c = 0; c < chunks; ++c) {
      const int k = X::first() + c * (warps * depth_chunk);
      if (k - static_cast<int>(threadIdx.x) % 4 * 8 >= p.depth) break;
      const auto* const piece = reinterpret_cast<const uint4*>(stage + k * 2);
      x.multiply(sums, c, *piece, *reinterpret_cast<const uint4*>(stage + 8 * step + k * 2));
    }
    __syncthreads();  // nobody reads the stage, or the sums of the tile before, any more
    if (threadIdx.x < 32 && i + stages < count) load(i + stages);
    memory.sums.store(sums);
    __syncthreads();
    const int begin = (first_tile + i * walkers) * lines;
    for (int item = static_cast<int>(threadIdx.x); item < p.rows * lines; item += threads) {
      const int row = item / lines;
      const int output = begin + item % lines;
      if (output >= p.outputs) continue;
      float result = memory.sums.total(row, item % lines);
      if constexpr (normed) result *= memory.scales[row];
      result += MatrixRow(p, output, 0).bias<Bf16>(p);
      const std::int64_t at = static_cast<std::int64_t>(row) * p.outputs + output;
      if (p.residual) result += read(static_cast<const Bf16*>(p.residual)[at]);
      static_cast<Bf16*>(p.out)[at] = written<Bf16>(result);
    }
  }
}

template <int Rows>
void launch(const ThinLinearProblem& p, cudaStream_t stream) {
  const int tiles = (p.outputs + lines - 1) / lines;
  launch_kernel(p.norm ? multiply_stream<Rows, true> : multiply_stream<Rows, false>,
                {.blocks = static_cast<unsigned>(std::min(tiles, 2 * multiprocessors())),
                 .threads = threads,
                 .shared = static_cast<std::size_t>(stages * lines * line_bytes(p.depth)),
                 .hands_over = true},
                stream, "a linear layer of some rows", p, tiles);
}

}  // namespace

bool streams_thin_linear(DType dtype, const ThinLinearProblem& p) {
  return dtype == DType::bf16 && p.rows > 1 && p.rows <= 32 && !p.gated && p.depth % depth_chunk == 0 &&
         p.depth <= most_depth;
}

void launch_streamed_thin_linear(const ThinLinearProblem& p, cudaStream_t stream) {
  if (p.rows <= 8)
    launch<8>(p, stream);
  else if (p.rows <= 16)
    launch<16>(p, stream);
  else
    launch<32>(p, stream);
}

}  // namespace wick::cuda::hopper
