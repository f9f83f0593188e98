#include <algorithm>

#include "backend/cuda/dependent_launch.cuh"
#include "backend/cuda/dispatch.cuh"
#include "backend/cuda/gpu.h"
#include "backend/cuda/tensor_core.cuh"
#include "backend/cuda/thin_linear.cuh"

// Some rows: bound by reading the matrices, which come through shared memory, many copies under way, to the
// tensor cores.
namespace wick::cuda {
namespace {

constexpr int tile_outputs = 64;  // of a block; of a gated layer 32, which have two rows each
constexpr int depth_step = 128;
constexpr int threads = 256;  // 4 warps along the outputs, 2 along each step of the depth

/// One step of the depth: 64 rows of the matrices, `Tiles` times 8 of x, the norm's weight.
template <int Tiles>
struct Stage {
  std::uint16_t matrix[tile_outputs * depth_step];
  std::uint16_t vectors[Tiles * 8 * depth_step];
  std::uint16_t norm[depth_step];
};

/// Sums of one block, by warps along the depth.
template <int Tiles>
struct Sums {
  static constexpr int stride = tile_outputs + 4;  // apart in banks
  float products[2][Tiles * 8][stride];
  float squares[2][Tiles * 8];
};

/// Where 8 elements lie: neighbours of one column in other banks.
__device__ inline int place(int row, int piece) { return row * depth_step + (piece ^ (row & 7)) * 8; }

/// Products of two pairs of bf16, each rounded.
__device__ inline std::uint32_t multiply_pairs(std::uint32_t a, std::uint32_t b) {
  std::uint32_t product;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(product) : "r"(a), "r"(b), "r"(0x80008000u));
  return product;
}
__device__ inline float add_squares(float sum, std::uint32_t pair) {
  const float low = __uint_as_float(pair << 16);
  const float high = __uint_as_float(pair & 0xffff0000u);
  return fmaf(high, high, fmaf(low, low, sum));
}

template <typename T, int Tiles, int Stages, bool normed>
__global__ void __launch_bounds__(threads)
    multiply_tiles(const __grid_constant__ ThinLinearProblem p, const int cluster) {
  extern __shared__ __align__(128) unsigned char shared[];
  auto* const stages = reinterpret_cast<Stage<Tiles>*>(shared);
  let_next_begin();
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int rank = static_cast<int>(blockIdx.x) % cluster;
  const int tile = static_cast<int>(blockIdx.x) / cluster;
  const int steps = (p.depth + depth_step - 1) / depth_step;
  const int first = steps * rank / cluster;
  const int last = steps * (rank + 1) / cluster;
  const int outputs = p.gated ? tile_outputs / 2 : tile_outputs;  // of this tile

  const int piece = static_cast<int>(threadIdx.x) % 16;
  const int line = static_cast<int>(threadIdx.x) / 16;
  const T* rows[tile_outputs / 16];
#pragma unroll
  for (int i = 0; i < tile_outputs / 16; ++i) {
    const int local = line + i * 16;
    const int output = tile * outputs + local % outputs;
    rows[i] = output < p.outputs ? MatrixRow(p, output, local / outputs).begin<T>(p) : nullptr;
  }
  const auto load_matrix = [&](int step) {
    auto* const to = stages[(step - first) % Stages].matrix;
    const int k = step * depth_step + piece * 8;
#pragma unroll
    for (int i = 0; i < tile_outputs / 16; ++i)
      copy_async(to + place(line + i * 16, piece), rows[i] + k, rows[i] && k < p.depth);
  };
  const auto load_vectors = [&](int step) {
    Stage<Tiles>& to = stages[(step - first) % Stages];
    const int k = step * depth_step + piece * 8;
    for (int r = line; r < Tiles * 8; r += 16)
      copy_async(to.vectors + place(r, piece),
                 static_cast<const T*>(p.x) + static_cast<std::int64_t>(r) * p.depth + k,
                 r < p.rows && k < p.depth);
    if (normed && line == 0) copy_async(to.norm + piece * 8, static_cast<const T*>(p.norm) + k, k < p.depth);
  };

  if (!p.constant) wait_for_kernels_ahead();
#pragma unroll
  for (int s = 0; s < Stages - 1; ++s)
    if (first + s < last) load_matrix(first + s);
  wait_for_kernels_ahead();
#pragma unroll
  for (int s = 0; s < Stages - 1; ++s) {
    if (first + s < last) load_vectors(first + s);
    commit_copies();
  }

  const int m = warp % 4;
  const int part = warp / 4;
  SumTile sums[Tiles];
  float squares[(Tiles + 3) / 4] = {};  // of tiles m, m + 4, ..
  for (int step = first; step < last; ++step) {
    wait_copies<Stages - 2>();
    __syncthreads();
    if (step + Stages - 1 < last) {
      load_matrix(step + Stages - 1);
      load_vectors(step + Stages - 1);
    }
    commit_copies();
    const Stage<Tiles>& stage = stages[(step - first) % Stages];
#pragma unroll
    for (int i = 0; i < depth_step / 32; ++i) {
      const int k = part * (depth_step / 16) + i * 2;  // in pieces
      LeftTile matrix;
      load_matrices(matrix.x, stage.matrix + place(m * 16 + lane % 16, k + lane / 16));
      std::uint32_t weight[2] = {};
      if constexpr (normed) {
        weight[0] = *reinterpret_cast<const std::uint32_t*>(stage.norm + k * 8 + lane % 4 * 2);
        weight[1] = *reinterpret_cast<const std::uint32_t*>(stage.norm + k * 8 + 8 + lane % 4 * 2);
      }
#pragma unroll
      for (int t = 0; t < Tiles; t += 2) {
        std::uint32_t x[4];
        const int r = Tiles == 1 ? lane % 8 : t * 8 + lane / 16 * 8 + lane % 8;
        load_matrices(x, stage.vectors + place(r, k + lane / 8 % 2));
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          if (t + j / 2 >= Tiles) continue;
          if constexpr (normed) {
            if ((t + j / 2) % 4 == m) squares[(t + j / 2) / 4] = add_squares(squares[(t + j / 2) / 4], x[j]);
            x[j] = multiply_pairs(x[j], weight[j % 2]);
          }
        }
        multiply_add<T>(sums[t], matrix, {x[0], x[1]});
        if (t + 1 < Tiles) multiply_add<T>(sums[t + 1], matrix, {x[2], x[3]});
      }
    }
  }
  wait_copies<0>();
  __syncthreads();

  auto& block = *reinterpret_cast<Sums<Tiles>*>(shared);
#pragma unroll
  for (int t = 0; t < Tiles; ++t) {
#pragma unroll
    for (int i = 0; i < 4; ++i)
      block.products[part][t * 8 + lane % 4 * 2 + i % 2][m * 16 + lane / 4 + i / 2 * 8] = sums[t].x[i];
    if (normed && t % 4 == m) {
      float sum = squares[t / 4];
      sum += __shfl_xor_sync(~0u, sum, 1);
      sum += __shfl_xor_sync(~0u, sum, 2);
      if (lane % 4 == 0) block.squares[part][t * 8 + lane / 4] = sum;
    }
  }
  meet_cluster();
  // The blocks of a cluster take turns at the rows.
  const auto total = [&](const float* of_first, int apart) {
    float sum = 0;
    for (int c = 0; c < cluster; ++c) sum += read_of_rank(of_first, c) + read_of_rank(of_first + apart, c);
    return sum;
  };
  constexpr int products_apart = Tiles * 8 * Sums<Tiles>::stride;
  for (int i = static_cast<int>(threadIdx.x); i < Tiles * 8 * outputs; i += threads) {
    const int r = i / outputs * cluster + rank;
    const int output = tile * outputs + i % outputs;
    if (r >= p.rows) break;
    if (output >= p.outputs) continue;
    const float scale = normed ? inverse_rms(p, total(&block.squares[0][r], Tiles * 8)) : 1.0f;
    const float* const sum = &block.products[0][r][i % outputs];
    float result = total(sum, products_apart) * scale + MatrixRow(p, output, 0).bias<T>(p);
    if (p.gated)
      result =
          gated(result, total(sum + outputs, products_apart) * scale + MatrixRow(p, output, 1).bias<T>(p));
    const std::int64_t at = static_cast<std::int64_t>(r) * p.outputs + output;
    if (p.residual) result += read(static_cast<const T*>(p.residual)[at]);
    static_cast<T*>(p.out)[at] = written<T>(result);
  }
  meet_cluster();  // nobody leaves while others read its sums
}

template <typename T, int Tiles, int Stages>
void launch(const ThinLinearProblem& p, cudaStream_t stream) {
  constexpr std::size_t shared = std::max(Stages * sizeof(Stage<Tiles>), sizeof(Sums<Tiles>));
  const int outputs = p.gated ? tile_outputs / 2 : tile_outputs;
  const int tiles = (p.outputs + outputs - 1) / outputs;
  const int steps = (p.depth + depth_step - 1) / depth_step;
  const int cluster = std::clamp(2 * multiprocessors() / tiles, 1, std::min(8, steps));
  const auto kernel = [&] {
    if constexpr (same_type<T, Bf16>)
      if (p.norm) return multiply_tiles<T, Tiles, Stages, true>;
    return multiply_tiles<T, Tiles, Stages, false>;
  }();
  launch_dependent(kernel,
                   {.blocks = static_cast<unsigned>(tiles * cluster),
                    .threads = threads,
                    .shared = shared,
                    .cluster = static_cast<unsigned>(cluster),
                    .stream = stream},
                   "a linear layer of some rows", p, cluster);
}

}  // namespace

void launch_thin_linear_tiles(DType dtype, const ThinLinearProblem& p, cudaStream_t stream) {
  visit_half(dtype, [&]<typename T>() {
    if (p.rows <= 8)
      launch<T, 1, 5>(p, stream);
    else if (p.rows <= 16)
      launch<T, 2, 4>(p, stream);
    else if (p.rows <= 32)
      launch<T, 4, 4>(p, stream);
    else
      launch<T, 8, 3>(p, stream);
  });
}

}  // namespace wick::cuda
