#include <algorithm>

#include "backend/cuda/attention.cuh"
#include "backend/cuda/device/launch_order.cuh"
#include "backend/cuda/launch_kernel.h"
#include "backend/cuda/tensor_core.cuh"
#include "backend/cuda/thin_linear.cuh"

// One row of bf16 by matrices that the GPU's registers hold as a whole: a block has all of its rows of them,
// its lines, under way before it waits for the kernels ahead. What is left behind the wait is short, and the
// products are left to the tensor cores, which leaves time for little else than the reading of x.
namespace wick::cuda {
namespace {

constexpr int depth_chunk = 32;  // elements of the depth that a warp takes at once

/// How blocks are cut: `Warps` split the depth, and each holds up to `Chunks` of it of all `Lines`, 16 or 8.
template <int Warps_, int Chunks_, int Lines_>
struct Cut {
  static constexpr int Warps = Warps_, Chunks = Chunks_, Lines = Lines_;
  static constexpr int threads = Warps * 32;
  static constexpr int most_depth = Warps * Chunks * depth_chunk;
  static constexpr int halves = Lines / 8;
  /// Left operands have 16 lines. Of 8, two chunks lie on top of each other.
  static constexpr int stacked = 2 / halves;
  static int outputs(const ThinLinearProblem& p) { return p.gated ? Lines / 2 : Lines; }
  static int blocks(const ThinLinearProblem& p) { return (p.outputs + outputs(p) - 1) / outputs(p); }
  /// Of the depth, a warp.
  static int walk(const ThinLinearProblem& p) {
    constexpr int unit = depth_chunk * stacked;
    return ((p.depth + unit - 1) / unit + Warps - 1) / Warps * unit;
  }
};

/// This thread's part of a block's lines: 16 bytes a chunk of lines `group` and, of 16, that plus 8.
template <typename C>
struct HeldLines {
  uint4 at[C::halves][C::Chunks];

  __device__ HeldLines(const ThinLinearProblem& p, int begin, int outputs, int first, int end) {
#pragma unroll
    for (int h = 0; h < C::halves; ++h) {
      const int line = h * 8 + static_cast<int>(threadIdx.x) % 32 / 4;
      const int output = min(begin + line % outputs, p.outputs - 1);
      const Bf16* const row = MatrixRow(p, output, line / outputs).begin<Bf16>(p);
#pragma unroll
      for (int c = 0; c < C::Chunks; ++c) {
        const int k = first + c * depth_chunk;
        at[h][c] = k < end ? load_once(row + k) : uint4{};
      }
    }
  }
  /// Sums of chunk `c`, or of 8 lines `c` and the next one, times x; `sums` take turns, as each waits long.
  __device__ void multiply(SumTile (&sums)[4], int c, const uint4& x) const {
    const uint4& upper = at[0][c];
    const uint4& lower = C::halves == 1 ? at[0][c + 1] : at[C::halves - 1][c];
    SumTile* const to = sums + c / C::stacked % 2 * 2;
    multiply_add<Bf16>(to[0], {upper.x, lower.x, upper.y, lower.y}, {x.x, x.y});
    multiply_add<Bf16>(to[1], {upper.z, lower.z, upper.w, lower.w}, {x.z, x.w});
  }
};

/// x times the norm's weights as two numbers each, so that it is not rounded to 8 bits, in shared memory.
template <int depth>
struct WeightedRow {
  uint4 high[depth / 8];
  uint4 rest[depth / 8];

  /// Returns this thread's sum of squares.
  __device__ float store(const ThinLinearProblem& p) {
    float squares = 0;
#pragma unroll
    for (int i = static_cast<int>(threadIdx.x); i < depth / 8; i += static_cast<int>(blockDim.x)) {
      const bool inside = i * 8 < p.depth;
      const uint4 x = inside ? static_cast<const uint4*>(p.x)[i] : uint4{};
      const uint4 weight = inside ? static_cast<const uint4*>(p.norm)[i] : uint4{};
      store_pair(i, &uint4::x, x, weight, squares);
      store_pair(i, &uint4::y, x, weight, squares);
      store_pair(i, &uint4::z, x, weight, squares);
      store_pair(i, &uint4::w, x, weight, squares);
    }
    return squares;
  }

 private:
  __device__ void store_pair(int i, std::uint32_t uint4::*which, const uint4& x, const uint4& weight,
                             float& squares) {
    const float a = low_of(x.*which);
    const float b = high_of(x.*which);
    squares = fmaf(a, a, fmaf(b, b, squares));
    const SplitPair weighted(a * low_of(weight.*which), b * high_of(weight.*which));
    high[i].*which = weighted.high;
    rest[i].*which = weighted.low;
  }
};
/// Without a norm x goes to registers as it is.
template <>
struct WeightedRow<0> {};

/// Columns of the right operand: with a norm, bit 1 says which of the two numbers; bit 0 which of two stacked
/// chunks. The others repeat these, and nobody reads their sums.
template <typename C, bool normed>
__global__ void __launch_bounds__(C::threads)
    multiply_held(const __grid_constant__ ThinLinearProblem p, const int outputs, const int walk) {
  __shared__ float partial[C::Warps][C::Lines];
  __shared__ float squares[C::Warps];
  __shared__ WeightedRow<normed ? C::most_depth : 0> row;
  let_next_begin();
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int group = static_cast<int>(threadIdx.x) % 32 / 4;
  const int quarter = static_cast<int>(threadIdx.x) % 4;
  const int first = warp * walk + quarter * 8;
  const int end = min(p.depth, (warp + 1) * walk);
  const int begin = static_cast<int>(blockIdx.x) * outputs;
  if (!p.constant) wait_for_kernels_ahead();
  const HeldLines<C> lines(p, begin, outputs, first, end);
  wait_for_kernels_ahead();

  const int own = begin + static_cast<int>(threadIdx.x);  // the output that this thread writes, if it does
  const bool writes = static_cast<int>(threadIdx.x) < outputs && own < p.outputs;
  const float residual = writes && p.residual ? read(static_cast<const Bf16*>(p.residual)[own]) : 0.0f;
  const int place = first + group % C::stacked * depth_chunk;  // of x in the depth
  uint4 x[C::Chunks];
  if constexpr (normed) {
    const float sum = warp_sum(row.store(p));
    if (threadIdx.x % 32 == 0) squares[warp] = sum;
    __syncthreads();
    const uint4* const from = (group / 2 % 2 == 0 ? row.high : row.rest) + place / 8;
#pragma unroll
    for (int c = 0; c < C::Chunks; c += C::stacked) x[c] = from[c * depth_chunk / 8];
  } else {
#pragma unroll
    for (int c = 0; c < C::Chunks; c += C::stacked) {
      const int k = place + c * depth_chunk;
      x[c] = k < end ? *reinterpret_cast<const uint4*>(static_cast<const Bf16*>(p.x) + k) : uint4{};
    }
  }
  SumTile sums[4];
#pragma unroll
  for (int c = 0; c < C::Chunks; c += C::stacked) lines.multiply(sums, c, x[c]);

  const auto sum = [&](int e) { return (sums[0].x[e] + sums[1].x[e]) + (sums[2].x[e] + sums[3].x[e]); };
  float upper = C::stacked == 2 ? sum(0) + sum(3) : sum(0);
  float lower = sum(2);
  if constexpr (normed) {
    upper += __shfl_xor_sync(~0u, upper, 1);
    lower += __shfl_xor_sync(~0u, lower, 1);
  }
  if (quarter == 0) {
    partial[warp][group] = upper;
    if constexpr (C::Lines == 16) partial[warp][group + 8] = lower;
  }
  __syncthreads();
  if (!writes) return;
  const auto total = [&](int line) {
    float of_warps = 0;
#pragma unroll
    for (int w = 0; w < C::Warps; ++w) of_warps += partial[w][line];
    return of_warps;
  };
  float scale = 1;
  if constexpr (normed) {
    float of_warps = 0;
#pragma unroll
    for (int w = 0; w < C::Warps; ++w) of_warps += squares[w];
    scale = inverse_rms(p, of_warps);
  }
  const auto line = static_cast<int>(threadIdx.x);
  float result = total(line) * scale + MatrixRow(p, own, 0).bias<Bf16>(p);
  if (p.gated) result = gated(result, total(line + outputs) * scale + MatrixRow(p, own, 1).bias<Bf16>(p));
  static_cast<Bf16*>(p.out)[own] = written<Bf16>(result + residual);
}

template <typename C>
bool launch_if_held(const ThinLinearProblem& p, cudaStream_t stream) {
  const auto kernel = p.norm ? multiply_held<C, true> : multiply_held<C, false>;
  const auto blocks = static_cast<unsigned>(C::blocks(p));
  if (p.depth > C::most_depth || blocks > blocks_at_once(kernel, C::threads)) return false;
  launch_kernel(kernel, {.blocks = blocks, .threads = C::threads, .hands_over = true}, stream,
                "a linear layer of one row", p, C::outputs(p), C::walk(p));
  return true;
}

}  // namespace

bool launch_held_thin_linear(const ThinLinearProblem& p, cudaStream_t stream) {
  // The fastest of those that were measured on layers of a model of 0.5 billion weights.
  return launch_if_held<Cut<14, 2, 8>>(p, stream) || launch_if_held<Cut<16, 10, 8>>(p, stream) ||
         launch_if_held<Cut<4, 7, 16>>(p, stream);
}

}  // namespace wick::cuda
