#include <algorithm>

#include "backend/cuda/cluster.cuh"
#include "backend/cuda/device/launch_order.cuh"
#include "backend/cuda/gpu.h"
#include "backend/cuda/hopper/instructions.cuh"
#include "backend/cuda/hopper/joined.cuh"
#include "backend/cuda/hopper/lora_kernels.h"
#include "backend/cuda/hopper/tensor_map.h"
#include "backend/cuda/lora_numbers.cuh"

// Gradients of factors of up to 16 ranks: one warp brings rows of the activations, groups of four warps
// multiply, in turns, and the sums of groups and of the blocks of a cluster are added up at the end.
namespace wick::cuda::hopper {
namespace {

constexpr int group_threads = 128;
constexpr int line_bytes = 128;
constexpr int box_columns = line_bytes / 2;
constexpr int box_rows = 32;  // of a step, which is a group's
constexpr int box_bytes = box_rows * line_bytes;
constexpr int ranks = 16;
constexpr int t_bytes = box_rows * ranks * 4;
constexpr int factor_line_bytes = 2 * ranks * 2;
constexpr int factor_bytes = box_rows * factor_line_bytes;
/// Of a group: products that read one may be under way, and those of another one not begun.
constexpr int factors_of_group = 3;

/// A block sums `Boxes` boxes of 64 columns. It takes `StepTime` for a step and `EndTime` to begin and end,
/// in 10 ns, measured on an H200 with as many blocks as fit on it.
template <int Boxes, int Groups, int Stages, int OfMultiprocessor, int StepTime, int EndTime>
struct GradientShape {
  static constexpr int boxes = Boxes;
  static constexpr int columns = Boxes * box_columns;
  static constexpr int groups = Groups;
  static constexpr int threads = Groups * group_threads + 32;
  static constexpr int stages = Stages;
  static constexpr int of_multiprocessor = OfMultiprocessor;
  static constexpr int step_time = StepTime;
  static constexpr int end_time = EndTime;
  static constexpr int stage_bytes = Boxes * box_bytes + t_bytes;
  // Lines of sums are padded, so that what a warp writes lies in different banks.
  static constexpr int column_line = ranks + 8;
  static constexpr int rank_line = columns + 4;
  static constexpr int sums = std::max(columns * column_line, rank_line* ranks);
  static constexpr int fours = columns * ranks / 4;
  static constexpr int part_bytes = (fours + most_cluster_blocks) * 16;
  static constexpr int ring_bytes = stages * stage_bytes;
  static_assert(Groups * sums * 4 <= ring_bytes);
  static constexpr int shared_bytes = 1024 + ring_bytes + Groups * factors_of_group * factor_bytes +
                                      part_bytes + 2 * stages * static_cast<int>(sizeof(Barrier));
};

template <typename Shape>
struct Memory {
  __device__ explicit Memory(unsigned char* raw) {
    stages = raw + (1024 - shared_address(raw) % 1024) % 1024;
    factors = stages + Shape::ring_bytes;
    parts = reinterpret_cast<float4*>(factors + Shape::groups * factors_of_group * factor_bytes);
    full = reinterpret_cast<Barrier*>(reinterpret_cast<unsigned char*>(parts) + Shape::part_bytes);
    empty = full + Shape::stages;
  }
  __device__ unsigned char* box(int stage, int i) const {
    return stages + stage * Shape::stage_bytes + i * box_bytes;
  }
  __device__ float* t(int stage) const { return reinterpret_cast<float*>(box(stage, Shape::boxes)); }
  __device__ unsigned char* factor(int group, int turn) const {
    return factors + (group * factors_of_group + turn % factors_of_group) * factor_bytes;
  }
  /// Where the stages were.
  __device__ float* sums(int group) const { return reinterpret_cast<float*>(stages) + group * Shape::sums; }

  unsigned char* stages;
  unsigned char* factors;  ///< high parts of t, then low ones
  float4* parts;           ///< the blocks' sums of what this block adds up
  Barrier* full;
  Barrier* empty;
};

struct Maps {
  CUtensorMap x[most_joined];
};

/// What a block sums: rows [begin, end) of columns from `column` on.
template <typename Shape>
struct Part {
  const LoraGradient& p;
  const CUtensorMap& map;
  int column;
  int begin, end;
  bool whole_x;  ///< can be copied as boxes
  bool whole_t;  ///< can be copied as it is

  __device__ int steps() const { return (end - begin + box_rows - 1) / box_rows; }
  __device__ int row(int step) const { return begin + step * box_rows; }
  __device__ int lines(int step) const { return min(box_rows, end - row(step)); }
};

/// One thread: starts all copies.
template <typename Shape>
__device__ void produce(const Memory<Shape>& memory, const Part<Shape>& part) {
  const int rank = static_cast<int>(part.p.rank);
  const int boxes = min(Shape::boxes, (static_cast<int>(part.p.columns) - part.column + 63) / 64);
  const int x_bytes = part.whole_x ? boxes * box_bytes : 0;
  for (int step = 0; step < part.steps(); ++step) {
    const int stage = step % Shape::stages;
    const int own_t_bytes = part.whole_t ? part.lines(step) * rank * 4 : 0;
    Barrier& full = memory.full[stage];
    memory.empty[stage].wait(step / Shape::stages % 2 ^ 1);
    full.arrive_expecting(x_bytes + own_t_bytes);
    if (own_t_bytes > 0)
      load_bytes(memory.t(stage), part.p.t + std::int64_t{part.row(step)} * rank, own_t_bytes, full);
    if (x_bytes > 0)
      for (int i = 0; i < boxes; ++i)
        load_box(memory.box(stage, i), part.map, part.column + i * box_columns, part.row(step), full);
  }
}

/// Copies what cannot be copied as boxes.
template <typename Shape>
__device__ void copy_boxes(const Memory<Shape>& memory, const Part<Shape>& part, int step) {
  const auto* const x = static_cast<const Bf16*>(part.p.x);
  for (int i = static_cast<int>(threadIdx.x) % group_threads; i < box_rows * Shape::columns;
       i += group_threads) {
    const int line = i / Shape::columns;
    const int column = i % Shape::columns;
    const bool inside = line < part.lines(step) && part.column + column < part.p.columns;
    auto* const to = reinterpret_cast<Bf16*>(memory.box(step % Shape::stages, column / 64) +
                                             line * line_bytes + ((column / 8 ^ line) & 7) * 16);
    to[column % 8].bits =
        inside ? x[std::int64_t{part.row(step) + line} * part.p.columns + part.column + column].bits : 0;
  }
}

/// Four neighbours of t in a row of a step; zeros where there is none.
template <typename Shape>
__device__ float4 t_of(const Memory<Shape>& memory, const Part<Shape>& part, int step, int line, int first) {
  const int rank = static_cast<int>(part.p.rank);
  const int count = line < part.lines(step) ? rank - first : 0;
  if (count <= 0) return {};
  if (part.whole_t)
    return *reinterpret_cast<const float4*>(memory.t(step % Shape::stages) + line * rank + first);
  const float* const from = part.p.t + std::int64_t{part.row(step) + line} * rank + first;
  return {from[0], count > 1 ? from[1] : 0.0f, count > 2 ? from[2] : 0.0f, count > 3 ? from[3] : 0.0f};
}

/// Splits t into high and low parts: lines across what is summed over, whose 16-byte pieces are swizzled.
template <typename Shape>
__device__ void split(const Memory<Shape>& memory, const Part<Shape>& part, int step, unsigned char* to) {
  static_assert(box_rows * ranks / 4 == group_threads);
  const int i = static_cast<int>(threadIdx.x) % group_threads;
  const int line = i / (ranks / 4);
  const int first = i % (ranks / 4) * 4;
  const auto place = [&](int column) {
    return to + line * factor_line_bytes + ((column / 8 ^ line / 2) & 3) * 16 + column % 8 * 2;
  };
  const float4 t = t_of(memory, part, step, line, first);
  const SplitPair a(t.x, t.y);
  const SplitPair b(t.z, t.w);
  *reinterpret_cast<uint2*>(place(first)) = {a.high, b.high};
  *reinterpret_cast<uint2*>(place(ranks + first)) = {a.low, b.low};
}

/// Of 64 columns each, by the high parts of t and by the low ones.
template <typename Shape>
using Sums = float[Shape::boxes][ranks];

/// A group of warps: its steps.
template <typename Shape>
__device__ void consume(const Memory<Shape>& memory, const Part<Shape>& part, int group, Sums<Shape>& sums) {
  const auto release = [&](int step) {
    if (threadIdx.x % 32 == 0) memory.empty[step % Shape::stages].arrive();
  };
  const int steps = part.steps();
  int turn = 0;
  for (int step = group; step < steps; step += Shape::groups, ++turn) {
    const int stage = step % Shape::stages;
    unsigned char* const factor = memory.factor(group, turn);
    memory.full[stage].wait(step / Shape::stages % 2);
    split(memory, part, step, factor);
    if (!part.whole_x) copy_boxes(memory, part, step);
    fence_for_async();
    sync_threads(1 + group, group_threads);
    const std::uint64_t right = short_line_operand(factor);
    begin_products();
#pragma unroll
    for (int i = 0; i < Shape::boxes; ++i) {
      const std::uint64_t x = operand(memory.box(stage, i), 0);
#pragma unroll
      for (int k = 0; k < box_rows / 16; ++k)
        // 16 lines on; operands count units of 16 bytes.
        multiply<2 * ranks, true, true>(sums[i], x + k * line_bytes, right + k * factor_line_bytes, 1);
    }
    commit_products();
    wait_products<1>();
    if (turn > 0) release(step - Shape::groups);
  }
  wait_products<0>();
}

/// The order in which a block's sums lie in memory, in fours that are neighbours there.
template <typename Shape>
struct Order {
  bool by_rank;  ///< ranks of a column are neighbours, else columns of a rank

  __device__ int column(int four) const { return by_rank ? four * 4 / ranks : four * 4 % Shape::columns; }
  __device__ int rank(int four) const { return by_rank ? four * 4 % ranks : four * 4 / Shape::columns; }
  __device__ int place(int column, int rank) const {
    return by_rank ? column * Shape::column_line + rank : rank * Shape::rank_line + column;
  }
};

/// A group of warps: leaves its sums in shared memory.
template <typename Shape>
__device__ void leave(const Memory<Shape>& memory, int group, const Order<Shape>& order,
                      const Sums<Shape>& sums) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32 % 4;
  float* const to = memory.sums(group);
#pragma unroll
  for (int i = 0; i < Shape::boxes; ++i)
#pragma unroll
    for (int j = 0; j < ranks / 2; ++j) {
      const int column = i * box_columns + warp * 16 + j / 2 % 2 * 8 + lane / 4;
      const int rank = j / 4 * 8 + lane % 4 * 2 + j % 2;
      to[order.place(column, rank)] = sums[i][j] + sums[i][j + ranks / 2];
    }
}

__device__ inline void add(float4& sum, const float4& x) {
  sum.x += x.x;
  sum.y += x.y;
  sum.z += x.z;
  sum.w += x.w;
}

/// Each block of a cluster adds up some of all blocks' sums, and writes them.
template <typename Shape>
__device__ void finish(const Memory<Shape>& memory, const Part<Shape>& part, const Order<Shape>& order) {
  const int blocks = cluster_blocks();
  const int own = cluster_rank();
  const int each = (Shape::fours + blocks - 1) / blocks;
  wait_for_cluster();  // all blocks have begun
  for (int i = static_cast<int>(threadIdx.x); i < Shape::fours; i += Shape::threads) {
    const int place = order.place(order.column(i), order.rank(i));
    float4 sum{};
#pragma unroll
    for (int g = 0; g < Shape::groups; ++g)
      add(sum, *reinterpret_cast<const float4*>(memory.sums(g) + place));
    const int block = i / each;
    write_of_block(memory.parts + own * each + i - block * each, block, sum);
  }
  sync_cluster();
  const LoraGradient& p = part.p;
  const int end = min(each, Shape::fours - own * each);
  for (int i = static_cast<int>(threadIdx.x); i < end; i += Shape::threads) {
    float4 sum{};
#pragma unroll
    for (int b = 0; b < most_cluster_blocks; ++b)
      if (b < blocks) add(sum, memory.parts[b * each + i]);
    const int column = part.column + order.column(own * each + i);
    const int rank = order.rank(own * each + i);
    if (column >= p.columns || rank >= p.rank) continue;
    float* const to = p.out + column * p.column_step + rank * p.rank_step;
    if (is_aligned(to) && (!order.by_rank || rank + 4 <= p.rank)) {
      *reinterpret_cast<float4*>(to) = sum;
    } else {
      const float values[] = {sum.x, sum.y, sum.z, sum.w};
#pragma unroll
      for (int k = 0; k < 4; ++k)
        if (!order.by_rank || rank + k < p.rank) to[k] = values[k];
    }
  }
}

/// The blocks of a cluster share the rows.
template <typename Shape>
__global__ void __launch_bounds__(Shape::threads, 1)
    sum_over_rows(const __grid_constant__ Joined<LoraGradient> joined, const __grid_constant__ Maps maps,
                  int share) {
  extern __shared__ unsigned char raw[];
  const Memory<Shape> memory(raw);
  // The same for all threads of a warp, which the compiler must know of where products are issued.
  const int group = __shfl_sync(~0u, static_cast<int>(threadIdx.x) / group_threads, 0);
  const auto [member, cluster] = joined.here();
  const LoraGradient& p = joined.members[member];
  const int begin = cluster_rank() * share;
  const Part<Shape> part{p,
                         maps.x[member],
                         cluster * Shape::columns,
                         begin,
                         static_cast<int>(min(std::int64_t{begin} + share, p.rows)),
                         is_aligned(p.x),
                         p.rank % 4 == 0 && is_aligned(p.t)};
  const Order<Shape> order{p.rank_step == 1};
  arrive_at_cluster();
  if (threadIdx.x == 0) {
    prefetch_map(part.map);
    for (int s = 0; s < Shape::stages; ++s) {
      memory.full[s].init(1);
      memory.empty[s].init(4);  // a warp each
    }
    fence_for_async();
  }
  __syncthreads();
  begin_in_order();
  Sums<Shape> sums = {};
  if (group < Shape::groups)
    consume(memory, part, group, sums);
  else if (threadIdx.x % 32 == 0)
    produce(memory, part);
  __syncthreads();  // stages are no more needed
  if (group < Shape::groups) leave(memory, group, order, sums);
  __syncthreads();
  finish(memory, part, order);
}

/// How members are launched as blocks of a shape.
struct Plan {
  std::int64_t cluster;
  std::int64_t share;  ///< rows of a block
  std::int64_t time;
};

template <typename Shape>
Joined<LoraGradient> join(std::span<const LoraGradient> members) {
  return {members, [](const LoraGradient& p) { return parts(p.columns, Shape::columns); }};
}

/// In as many parts as let all blocks run at once, a power of two: other clusters leave more gaps.
template <typename Shape>
Plan plan(std::span<const LoraGradient> members) {
  const std::int64_t clusters = join<Shape>(members).clusters();
  const std::int64_t steps = parts(members[0].rows, box_rows);
  const std::int64_t places = std::int64_t{Shape::of_multiprocessor} * multiprocessors();
  const auto fits = [&](std::int64_t c) {
    const bool have_rows = parts(steps, parts(steps, c)) == c;  // all blocks
    const auto blocks = static_cast<unsigned>(c);
    return have_rows && clusters * c <= places &&
           clusters <=
               most_clusters(sum_over_rows<Shape>, {blocks, Shape::threads, Shape::shared_bytes, blocks});
  };
  std::int64_t cluster = most_cluster_blocks;
  while (cluster > 1 && !fits(cluster)) cluster /= 2;
  const std::int64_t each = parts(steps, cluster);
  return {cluster, each * box_rows,
          parts(clusters * cluster, places) * (each * Shape::step_time + Shape::end_time)};
}

template <typename Shape>
void launch(std::span<const LoraGradient> members, const Plan& plan, cudaStream_t stream) {
  Maps maps{};
  for (std::size_t m = 0; m < members.size(); ++m)
    if (reinterpret_cast<std::uintptr_t>(members[m].x) % 16 == 0)
      maps.x[m] =
          tensor_map(BoxedMatrix{members[m].x, members[m].rows, members[m].columns, box_rows, box_columns});
  launch_joined(sum_over_rows<Shape>, join<Shape>(members), plan.cluster, Shape::threads, Shape::shared_bytes,
                stream, "the gradient of an adapter", maps, static_cast<int>(plan.share));
}

struct Way {
  template <typename Shape>
  static constexpr Way of() {
    return {hopper::plan<Shape>, hopper::launch<Shape>};
  }
  Plan (*plan)(std::span<const LoraGradient>);
  void (*launch)(std::span<const LoraGradient>, const Plan&, cudaStream_t);
};

constexpr Way ways[] = {
    Way::of<GradientShape<4, 2, 8, 1, 37, 400>>(),
    Way::of<GradientShape<3, 3, 11, 1, 34, 380>>(),
    Way::of<GradientShape<2, 3, 14, 1, 30, 360>>(),
    Way::of<GradientShape<2, 2, 7, 2, 40, 420>>(),
};

}  // namespace

void launch_low_lora_gradients(std::span<const LoraGradient> members, cudaStream_t stream) {
  const Way* best = nullptr;
  Plan best_plan{};
  for (const Way& way : ways) {
    const Plan plan = way.plan(members);
    if (best && plan.time >= best_plan.time) continue;
    best = &way;
    best_plan = plan;
  }
  best->launch(members, best_plan, stream);
}

}  // namespace wick::cuda::hopper
