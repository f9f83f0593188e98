#include <algorithm>
#include <iterator>

#include "backend/cuda/cluster.cuh"
#include "backend/cuda/device/launch_order.cuh"
#include "backend/cuda/dispatch.cuh"
#include "backend/cuda/gpu.h"
#include "backend/cuda/launch_kernel.h"
#include "backend/cuda/rows.cuh"
#include "backend/cuda/tensor_core.cuh"
#include "backend/cuda/thin_linear.cuh"

// Some rows: bound by reading the matrices, which come through shared memory, many copies under way, to the
// tensor cores. A block goes from tile to tile of the outputs and copies the next one's rows meanwhile.
namespace wick::cuda {
namespace {

constexpr int depth_step = 128;

/// A block takes `Lines` times 16 rows of the matrices by `Tiles` times 8 of x: a warp for 16 rows and half
/// of each step of the depth.
template <int Lines, int Tiles, int Stages>
struct Shared {
  static constexpr int threads = Lines * 64;
  static constexpr int outputs = Lines * 16;  // of a gated layer half as many, which have two rows each
  static constexpr int rows = Tiles * 8;
  struct Stage {
    std::uint16_t matrix[outputs * depth_step];
    std::uint16_t vectors[rows * depth_step];
  };
  Stage stages[Stages];
  float sums[rows][outputs + 4];  // of the block; rows lie apart in banks
};

/// Where 8 elements lie: neighbours of one column in other banks.
__device__ inline int place(int row, int piece) { return row * depth_step + (piece ^ (row & 7)) * 8; }

/// The sum over the blocks of a cluster.
__device__ inline float total(const float* own, int cluster) {
  if (cluster == 1) return *own;
  float parts[most_cluster_blocks];
#pragma unroll
  for (int c = 0; c < most_cluster_blocks; ++c) parts[c] = read_of_block(own, c < cluster ? c : 0);
  float sum = 0;
#pragma unroll
  for (int c = 0; c < most_cluster_blocks; ++c)
    if (c < cluster) sum += parts[c];
  return sum;
}

/// Clusters of blocks split the depth of a tile.
struct Walk {
  int cluster;
  int tiles;
};

template <typename T, int Lines, int Tiles, int Stages>
__global__ void __launch_bounds__(Lines * 64, 2)
    multiply_tiles(const __grid_constant__ ThinLinearProblem p, const Walk walk) {
  extern __shared__ __align__(128) unsigned char dynamic[];
  using Block = Shared<Lines, Tiles, Stages>;
  constexpr int threads = Block::threads;
  auto& shared = *reinterpret_cast<Block*>(dynamic);
  let_next_begin();
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int rank = static_cast<int>(blockIdx.x) % walk.cluster;
  const int walkers = static_cast<int>(gridDim.x) / walk.cluster;
  const int first_tile = static_cast<int>(blockIdx.x) / walk.cluster;
  const int all_steps = (p.depth + depth_step - 1) / depth_step;
  const int first = all_steps * rank / walk.cluster;
  const int steps = all_steps * (rank + 1) / walk.cluster - first;
  const int outputs = p.gated ? Block::outputs / 2 : Block::outputs;            // of a tile
  const int count = (walk.tiles - first_tile + walkers - 1) / walkers * steps;  // of steps in all

  // What is copied next, the matrices and x each in the order in which it is used.
  const int piece = static_cast<int>(threadIdx.x) % 16;
  const int line = static_cast<int>(threadIdx.x) / 16;
  constexpr int lines = threads / 16;
  const T* rows[4];
  int matrix_tile = first_tile;
  int matrix_step = 0;
  int vector_step = 0;
  const auto load_matrix = [&](int i) {
    if (matrix_step == 0) {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const int local = line + j * lines;
        const int output = matrix_tile * outputs + local % outputs;
        rows[j] = output < p.outputs ? MatrixRow(p, output, local / outputs).begin<T>(p) : nullptr;
      }
    }
    auto* const to = shared.stages[i % Stages].matrix;
    const int k = (first + matrix_step) * depth_step + piece * 8;
#pragma unroll
    for (int j = 0; j < 4; ++j)
      copy_async(to + place(line + j * lines, piece), rows[j] + k, rows[j] && k < p.depth);
    if (++matrix_step < steps) return;
    matrix_step = 0;
    matrix_tile += walkers;
  };
  const auto load_vectors = [&](int i) {
    auto* const to = shared.stages[i % Stages].vectors;
    const int k = (first + vector_step) * depth_step + piece * 8;
    for (int r = line; r < Block::rows; r += lines)
      copy_async(to + place(r, piece),
                 static_cast<const T*>(p.x) + static_cast<std::int64_t>(r) * p.depth + k,
                 r < p.rows && k < p.depth);
    if (++vector_step == steps) vector_step = 0;
  };

  if (!p.constant) wait_for_kernels_ahead();
  for (int i = 0; i < Stages - 1 && i < count; ++i) load_matrix(i);
  wait_for_kernels_ahead();
  for (int i = 0; i < Stages - 1; ++i) {
    if (i < count) load_vectors(i);
    commit_copies();
  }

  const int own_rows = (p.rows - rank + walk.cluster - 1) / walk.cluster;  // that this block adds up
  const int m = warp % Lines;
  const int part = warp / Lines;
  SumTile sums[Tiles];
  int tile = first_tile;
  int step = 0;
  for (int i = 0; i < count; ++i) {
    wait_copies<Stages - 2>();
    __syncthreads();
    if (i + Stages - 1 < count) {
      load_matrix(i + Stages - 1);
      load_vectors(i + Stages - 1);
    }
    commit_copies();
    const typename Block::Stage& stage = shared.stages[i % Stages];
#pragma unroll
    for (int j = 0; j < depth_step / 32; ++j) {
      const int k = part * (depth_step / 16) + j * 2;  // in pieces
      LeftTile matrix;
      load_matrices(matrix.x, stage.matrix + place(m * 16 + lane % 16, k + lane / 16));
#pragma unroll
      for (int t = 0; t < Tiles; t += 2) {
        std::uint32_t x[4];
        const int r = Tiles == 1 ? lane % 8 : t * 8 + lane / 16 * 8 + lane % 8;
        load_matrices(x, stage.vectors + place(r, k + lane / 8 % 2));
        multiply_add<T>(sums[t], matrix, {x[0], x[1]});
        if (t + 1 < Tiles) multiply_add<T>(sums[t + 1], matrix, {x[2], x[3]});
      }
    }
    if (++step < steps) continue;

    // The two warps along the depth add up, then the blocks of the cluster, which take turns at the rows.
    for (int adding = 1; adding >= 0; --adding) {
      if (part == adding)
#pragma unroll
        for (int t = 0; t < Tiles; ++t)
#pragma unroll
          for (int e = 0; e < 4; ++e) {
            float& sum = shared.sums[t * 8 + lane % 4 * 2 + e % 2][m * 16 + lane / 4 + e / 2 * 8];
            sum = adding == 1 ? sums[t].x[e] : sum + sums[t].x[e];
          }
      __syncthreads();
    }
    if (walk.cluster > 1) sync_cluster();
#pragma unroll 2
    for (int item = static_cast<int>(threadIdx.x); item < own_rows * outputs; item += threads) {
      const int r = item / outputs * walk.cluster + rank;
      const int local = item % outputs;
      const int output = tile * outputs + local;
      if (output >= p.outputs) continue;
      float result = total(&shared.sums[r][local], walk.cluster) + MatrixRow(p, output, 0).bias<T>(p);
      if (p.gated)
        result = gated(result, total(&shared.sums[r][local + outputs], walk.cluster) +
                                   MatrixRow(p, output, 1).bias<T>(p));
      const std::int64_t at = static_cast<std::int64_t>(r) * p.outputs + output;
      if (p.residual) result += read(static_cast<const T*>(p.residual)[at]);
      static_cast<T*>(p.out)[at] = written<T>(result);
    }
    if (walk.cluster > 1) sync_cluster();  // nobody leaves, or goes on, while others read its sums
    tile += walkers;
    step = 0;
#pragma unroll
    for (int t = 0; t < Tiles; ++t) sums[t] = SumTile{};
  }
}

/// The rows of x as the norm makes them: a block a row.
template <typename T>
__global__ void __launch_bounds__(256) normalize(const __grid_constant__ ThinLinearProblem p, T* out) {
  begin_in_order();
  const T* const x = static_cast<const T*>(p.x) + static_cast<std::int64_t>(blockIdx.x) * p.depth;
  const T* const weight = static_cast<const T*>(p.norm);
  T* const to = out + static_cast<std::int64_t>(blockIdx.x) * p.depth;
  float squares = 0;
  for (int k = static_cast<int>(threadIdx.x) * 8; k < p.depth; k += 2048) {
    const auto pack = load_pack<8>(x + k);
#pragma unroll
    for (int i = 0; i < 8; ++i) squares = fmaf(read(pack.at[i]), read(pack.at[i]), squares);
  }
  const float scale = inverse_rms(p, block_sum(squares));
  for (int k = static_cast<int>(threadIdx.x) * 8; k < p.depth; k += 2048) {
    auto pack = load_pack<8>(x + k);
    const auto by = load_pack<8>(weight + k);
#pragma unroll
    for (int i = 0; i < 8; ++i) pack.at[i] = written<T>(read(pack.at[i]) * scale * read(by.at[i]));
    store_pack(to + k, pack);
  }
}

/// How a problem is cut: 16 rows a line.
struct Cut {
  int lines;
  Walk walk;
  double cost;
};

/// The cost is that of the block that copies most, in rows of one step; a cluster takes time to meet, which
/// the thinnest tiles do not bring in again.
Cut cut_of(const ThinLinearProblem& p, int lines) {
  constexpr double meeting = 300;
  const int slots = 2 * multiprocessors();
  const int outputs = p.gated ? lines * 8 : lines * 16;
  const int tiles = (p.outputs + outputs - 1) / outputs;
  const int steps = (p.depth + depth_step - 1) / depth_step;
  const int cluster = std::clamp(slots / tiles, 1, std::min(most_cluster_blocks, steps));
  const int turns = (tiles * cluster + slots - 1) / slots;
  const int copied = turns * ((steps + cluster - 1) / cluster) * (lines * 16 + p.rows);
  return {lines, {cluster, tiles}, copied + (cluster == 1 ? 0 : lines < 4 ? 2 * meeting : meeting)};
}

template <typename T, int Lines, int Tiles, int Stages>
void launch(const ThinLinearProblem& p, const Walk& walk, cudaStream_t stream) {
  const int walkers = std::min(walk.tiles, 2 * multiprocessors() / walk.cluster);
  launch_kernel(multiply_tiles<T, Lines, Tiles, Stages>,
                {.blocks = static_cast<unsigned>(walkers * walk.cluster),
                 .threads = Lines * 64,
                 .shared = sizeof(Shared<Lines, Tiles, Stages>),
                 .cluster = static_cast<unsigned>(walk.cluster),
                 .hands_over = true},
                stream, "a linear layer of some rows", p, walk);
}

/// As many stages as leave room for a second block.
template <typename T, int Tiles>
void launch_cheapest(const ThinLinearProblem& p, cudaStream_t stream) {
  const Cut cuts[] = {cut_of(p, 3), cut_of(p, 4), cut_of(p, 5)};
  const Cut& best = *std::min_element(std::begin(cuts), std::end(cuts),
                                      [](const Cut& a, const Cut& b) { return a.cost < b.cost; });
  if (best.lines == 3)
    launch < T, 3, Tiles, Tiles<8 ? 4 : 3>(p, best.walk, stream);
  else if (best.lines == 4)
    launch < T, 4, Tiles, Tiles<8 ? 4 : 2>(p, best.walk, stream);
  else
    launch < T, 5, Tiles, Tiles < 4 ? 4 : Tiles<8 ? 3 : 2>(p, best.walk, stream);
}

}  // namespace

std::size_t thin_linear_tiles_scratch(const ThinLinearProblem& p) {
  return static_cast<std::size_t>(p.rows) * static_cast<std::size_t>(p.depth) * 2;
}

void launch_thin_linear_tiles(DType dtype, ThinLinearProblem p, void* scratch, cudaStream_t stream) {
  visit_half(dtype, [&]<typename T>() {
    if (p.norm) {
      launch_kernel(normalize<T>, {static_cast<unsigned>(p.rows), 256}, stream, "the norm of some rows", p,
                    static_cast<T*>(scratch));
      p.x = scratch;
    }
    if (p.rows <= 8)
      launch_cheapest<T, 1>(p, stream);
    else if (p.rows <= 16)
      launch_cheapest<T, 2>(p, stream);
    else if (p.rows <= 32)
      launch_cheapest<T, 4>(p, stream);
    else
      launch_cheapest<T, 8>(p, stream);
  });
}

}  // namespace wick::cuda
