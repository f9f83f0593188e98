#include <algorithm>

#include "backend/cuda/device/launch_order.cuh"
#include "backend/cuda/dispatch.cuh"
#include "backend/cuda/launch_kernel.h"
#include "backend/cuda/tensor_core.cuh"
#include "backend/cuda/thin_linear.cuh"

// One row: bound by reading the matrices. Each warp has its first loads of them under way before it waits for
// the kernels ahead.
namespace wick::cuda {
namespace {

constexpr int block_warps = 4;

template <typename T>
struct Eight {
  float at[8];
  __device__ explicit Eight(const uint4& packed) {
    T narrow[8];
    memcpy(narrow, &packed, sizeof packed);
#pragma unroll
    for (int i = 0; i < 8; ++i) at[i] = read(narrow[i]);
  }
};

template <typename T>
__device__ uint4 load_pack_if(bool inside, const T* from) {
  return inside ? *reinterpret_cast<const uint4*>(from) : make_uint4(0, 0, 0, 0);
}

/// A warp's share of a group of `Rows` outputs (of a gated layer: both rows of one output), `Parts` times 256
/// elements deep at once.
template <typename T, int Rows, int Parts>
struct RowsOfGroup {
  const T* rows[Rows];
  uint4 held[Rows][Parts];

  __device__ RowsOfGroup(const ThinLinearProblem& p, int group) {
#pragma unroll
    for (int r = 0; r < Rows; ++r) {
      const int output = p.gated ? group : group * Rows + r;
      rows[r] = MatrixRow(p, min(output, p.outputs - 1), r).begin<T>(p);
    }
  }
  __device__ void load(const ThinLinearProblem& p, int k) {
#pragma unroll
    for (int i = 0; i < Parts; ++i)
#pragma unroll
      for (int r = 0; r < Rows; ++r)
        held[r][i] = k + i * 256 < p.depth ? load_once(rows[r] + k + i * 256) : make_uint4(0, 0, 0, 0);
  }
};

/// Blocks that a multiprocessor has registers for, where a lane holds so many packs of weights.
constexpr int least_blocks(int packs) { return packs <= 8 ? 7 : packs <= 14 ? 5 : 4; }

/// Warps take groups of outputs in turn; `of_output` warps split the depth. The norm scales the sum: its own
/// sum is made along the way.
template <typename T, int Rows, int Parts, bool normed>
__global__ void __launch_bounds__(block_warps * 32, least_blocks(Rows* Parts))
    multiply_one(const __grid_constant__ ThinLinearProblem p, const int of_output, const int groups) {
  __shared__ float partial[block_warps][Rows + 1];
  let_next_begin();
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int slice = warp % of_output;
  const int of_block = block_warps / of_output;
  const int first = slice * (Parts * 256) + lane * 8;
  const T* const x = static_cast<const T*>(p.x);
  const T* const norm = static_cast<const T*>(p.norm);
  if (!p.constant) wait_for_kernels_ahead();
  bool has_waited = false;
  for (int block = static_cast<int>(blockIdx.x); block * of_block < groups;
       block += static_cast<int>(gridDim.x)) {
    const int group = block * of_block + warp / of_output;
    RowsOfGroup<T, Rows, Parts> matrix(p, group);
    matrix.load(p, first);
    if (!has_waited) wait_for_kernels_ahead();
    has_waited = true;

    const int own = group * (p.gated ? 1 : Rows) + lane;  // the output that this lane writes, if it does
    const bool writes = slice == 0 && lane < (p.gated ? 1 : Rows) && own < p.outputs;
    const float residual = writes && p.residual ? read(static_cast<const T*>(p.residual)[own]) : 0.0f;

    float sums[Rows + 1] = {};  // the last: of squares
    for (int k = first; k - lane * 8 < p.depth; k += of_output * (Parts * 256)) {
      if (k != first) matrix.load(p, k);
#pragma unroll
      for (int i = 0; i < Parts; ++i) {
        const int at = k + i * 256;
        Eight<T> values(load_pack_if(at < p.depth, x + at));
        if constexpr (normed) {
          const Eight<T> weight(load_pack_if(at < p.depth, norm + at));
#pragma unroll
          for (int j = 0; j < 8; ++j) {
            sums[Rows] = fmaf(values.at[j], values.at[j], sums[Rows]);
            values.at[j] *= weight.at[j];
          }
        }
#pragma unroll
        for (int r = 0; r < Rows; ++r) {
          const Eight<T> row(matrix.held[r][i]);
#pragma unroll
          for (int j = 0; j < 8; ++j) sums[r] = fmaf(row.at[j], values.at[j], sums[r]);
        }
      }
    }

#pragma unroll
    for (int r = 0; r < (normed ? Rows + 1 : Rows); ++r)
#pragma unroll
      for (int step = 16; step > 0; step /= 2) sums[r] += __shfl_xor_sync(~0u, sums[r], step);
    if (of_output > 1) {
      __syncthreads();  // the sums of the groups before were read
      if (lane == 0)
#pragma unroll
        for (int r = 0; r <= Rows; ++r) partial[warp][r] = sums[r];
      __syncthreads();
      if (slice == 0)
#pragma unroll
        for (int r = 0; r <= Rows; ++r)
          for (int w = 1; w < of_output; ++w) sums[r] += partial[warp + w][r];
    }
    if (!writes) continue;
    const float scale = normed ? inverse_rms(p, sums[Rows]) : 1.0f;
    float result = 0;
    if (Rows == 2 && p.gated) {
      result = gated(sums[0] * scale + MatrixRow(p, own, 0).bias<T>(p),
                     sums[1 % Rows] * scale + MatrixRow(p, own, 1).bias<T>(p));
    } else {
#pragma unroll
      for (int r = 0; r < Rows; ++r)
        if (r == lane) result = sums[r] * scale;
      result += MatrixRow(p, own, 0).bias<T>(p);
    }
    static_cast<T*>(p.out)[own] = written<T>(result + residual);
  }
}

template <typename T, int Rows, int Parts>
void launch(const ThinLinearProblem& p, int of_output, cudaStream_t stream) {
  const int groups = p.gated ? p.outputs : (p.outputs + Rows - 1) / Rows;
  const int of_block = block_warps / of_output;
  const auto kernel = p.norm ? multiply_one<T, Rows, Parts, true> : multiply_one<T, Rows, Parts, false>;
  // Blocks of a second round would begin to read only when those of the first end; many rounds even that out.
  auto blocks = static_cast<unsigned>((groups + of_block - 1) / of_block);
  const unsigned at_once = blocks_at_once(kernel, block_warps * 32);
  if (blocks < 2 * at_once) blocks = std::min(blocks, at_once);
  launch_kernel(kernel, {.blocks = blocks, .threads = block_warps * 32, .hands_over = true}, stream,
                "a linear layer of one row", p, of_output, groups);
}

}  // namespace

void launch_thin_linear_of_one(DType dtype, const ThinLinearProblem& p, cudaStream_t stream) {
  // The fastest of those that were measured on layers of models of 0.5 and 7 billion weights.
  const int of_output = p.depth <= 1024 ? 1 : p.depth > 4096 ? 4 : p.gated || p.outputs >= 65536 ? 2 : 1;
  visit_half(dtype, [&]<typename T>() {
    if (p.gated)
      launch<T, 2, 4>(p, of_output, stream);
    else if (p.outputs >= 65536)
      launch<T, 4, 4>(p, of_output, stream);
    else if (p.depth <= 1024)
      launch<T, 1, 4>(p, of_output, stream);
    else
      launch<T, 2, 7>(p, of_output, stream);
  });
}

}  // namespace wick::cuda
