#include <cstdint>

#include "backend/cuda/device/launch_order.cuh"
#include "backend/cuda/device/reductions.cuh"
#include "backend/cuda/dispatch.cuh"
#include "backend/cuda/kernels.h"
#include "backend/cuda/launch.h"
#include "backend/cuda/launch_kernel.h"
#include "backend/cuda/rows.cuh"
#include "ops/attributes.h"

namespace wick::cuda {
namespace {

constexpr int block_threads = 256;
constexpr int a_thread = 4;
constexpr int part_length = a_thread * block_threads;

/// Scores as they lie in memory, and what their weights are relative to.
template <typename T>
struct ScoreRows {
  const T* scores;
  int length;
  int parts;  ///< of a row
  double temperature;

  __device__ const T* row(int r) const { return scores + static_cast<long long>(r) * length; }
  __device__ double weight(double score, double highest) const {
    return exp((score - highest) / temperature);
  }
};

/// Of a part of a row.
struct PartTotal {
  double highest;  ///< NaN where a score is
  double weights;  ///< their sum, relative to the highest
  int place;       ///< the first of the highest
};

__device__ double block_highest(double value) {
  return block_combined(value, [](double a, double b) { return beats<true>(b, a) ? b : a; });
}
__device__ int block_first(int place) {
  return block_combined(place, [](int a, int b) { return min(a, b); });
}
__device__ bool is_as_high(double score, double highest) {
  return score == highest || (score != score && highest != highest);
}

template <typename T>
__global__ void __launch_bounds__(block_threads) weigh_parts(const ScoreRows<T> rows, PartTotal* totals) {
  begin_in_order();
  const int part = static_cast<int>(blockIdx.x) % rows.parts;
  const T* const row = rows.row(static_cast<int>(blockIdx.x) / rows.parts);
  const int first = part * part_length + static_cast<int>(threadIdx.x);
  double scores[a_thread];
#pragma unroll
  for (int j = 0; j < a_thread; ++j) {
    const int place = first + j * block_threads;
    scores[j] = place < rows.length ? static_cast<double>(read(row[place])) : -infinity<double>();
  }
  double highest = scores[0];
#pragma unroll
  for (int j = 1; j < a_thread; ++j) highest = beats<true>(scores[j], highest) ? scores[j] : highest;
  highest = block_highest(highest);
  int place = Limits<int>::high;
#pragma unroll
  for (int j = a_thread; j-- > 0;)
    if (is_as_high(scores[j], highest)) place = first + j * block_threads;
  place = block_first(place);
  const double center = highest == -infinity<double>() ? 0.0 : highest;  // a part of impossible ones weighs 0
  double weights = 0;
#pragma unroll
  for (int j = 0; j < a_thread; ++j) weights += rows.weight(scores[j], center);
  weights = block_sum(weights);
  if (threadIdx.x == 0) totals[blockIdx.x] = {highest, weights, place};
}

/// The sum of the values of the threads before this one.
__device__ double sum_before(double value) {
  __shared__ double of_warps[block_threads / 32];
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  double sum = value;
  for (int apart = 1; apart < 32; apart *= 2) {
    const double before = __shfl_up_sync(~0u, sum, apart);
    if (lane >= apart) sum += before;
  }
  __syncthreads();  // what an earlier call left may still be read
  if (lane == 31) of_warps[warp] = sum;
  __syncthreads();
  double before = __shfl_up_sync(~0u, sum, 1);
  if (lane == 0) before = 0;
  for (int w = 0; w < warp; ++w) before += of_warps[w];
  return before;
}

struct Reached {
  int item;
  double before;  ///< the sum of the weights of the items before it
};

/// The first of `count` items with which `before` and the sum of the weights so far exceed `wanted`; where
/// rounding keeps all from that, the last that weighs anything.
template <typename Weight>
__device__ Reached first_reached(int count, double before, double wanted, const Weight& weight) {
  __shared__ double before_found;
  const int each = (count + block_threads - 1) / block_threads;
  const int first = min(count, each * static_cast<int>(threadIdx.x));
  const int end = min(count, first + each);
  double own = 0;
  for (int i = first; i < end; ++i) own += weight(i);
  double sum = before + sum_before(own);
  int found = Limits<int>::high;
  int last = -1;
  double before_last = 0;
  for (int i = first; i < end && found == Limits<int>::high; ++i) {
    const double w = weight(i);
    if (w > 0) {
      last = i;
      before_last = sum;
    }
    sum += w;
    if (w > 0 && sum > wanted) found = i;
  }
  if (threadIdx.x == 0) before_found = before;  // where nothing weighs anything
  __syncthreads();
  int item = block_first(found);
  if (item == Limits<int>::high) item = max(0, -block_first(-last));
  if (last == item) before_found = before_last;
  __syncthreads();
  const Reached reached{item, before_found};
  __syncthreads();
  return reached;
}

/// A block a row. `share`: null for the likeliest.
template <typename T>
__global__ void __launch_bounds__(block_threads)
    choose_place(const ScoreRows<T> rows, const PartTotal* all_totals, const double* share, double* out) {
  begin_in_order();
  const T* const row = rows.row(static_cast<int>(blockIdx.x));
  const PartTotal* const totals = all_totals + static_cast<long long>(blockIdx.x) * rows.parts;
  double highest = -infinity<double>();
  for (int p = static_cast<int>(threadIdx.x); p < rows.parts; p += block_threads)
    highest = beats<true>(totals[p].highest, highest) ? totals[p].highest : highest;
  highest = block_highest(highest);
  const auto weight_of_part = [&](int p) {
    return totals[p].weights * rows.weight(totals[p].highest, highest);
  };
  int place = Limits<int>::high;
  double total = 0;
  for (int p = static_cast<int>(threadIdx.x); p < rows.parts; p += block_threads) {
    if (is_as_high(totals[p].highest, highest)) place = min(place, totals[p].place);
    total += weight_of_part(p);
  }
  total = block_sum(total);
  if (share) {
    const double wanted = total * *share;
    const Reached part = first_reached(rows.parts, 0, wanted, weight_of_part);
    const int first = part.item * part_length;
    const auto weight_of_place = [&](int i) {
      return rows.weight(static_cast<double>(read(row[first + i])), highest);
    };
    place = first +
            first_reached(min(part_length, rows.length - first), part.before, wanted, weight_of_place).item;
  } else {
    place = block_first(place);
  }
  if (threadIdx.x != 0) return;
  const auto score = static_cast<double>(read(row[place]));
  double* const chosen = out + static_cast<long long>(blockIdx.x) * 3;
  chosen[0] = place;
  chosen[1] = rows.weight(score, highest) / total;
  chosen[2] = score;
}

class CategoricalKernel final : public Kernel {
 public:
  explicit CategoricalKernel(const KernelRequest& request)
      : dtype_(request.inputs[0].dtype),
        rows_(static_cast<int>(request.inputs[0].shape()[0])),
        length_(static_cast<int>(request.inputs[0].shape()[1])),
        parts_((length_ + part_length - 1) / part_length),
        draws_(request.inputs.size() == 2),
        temperature_(draws_ ? request.attrs.as<CategoricalAttrs>().temperature : 1) {}

  std::size_t scratch_bytes() const override {
    return sizeof(PartTotal) * static_cast<std::size_t>(rows_) * static_cast<std::size_t>(parts_);
  }

  void run(const void* const* inputs, void* output, void* scratch) const override {
    if (rows_ == 0) return;
    visit_float(dtype_, [&]<typename T>() {
      const cudaStream_t stream = current_launch().stream;
      const ScoreRows<T> rows{static_cast<const T*>(inputs[0]), length_, parts_, temperature_};
      auto* const totals = static_cast<PartTotal*>(scratch);
      launch_kernel(weigh_parts<T>, {static_cast<unsigned>(rows_ * parts_), block_threads}, stream,
                    "categorical", rows, totals);
      launch_kernel(choose_place<T>, {static_cast<unsigned>(rows_), block_threads}, stream, "categorical",
                    rows, totals, draws_ ? static_cast<const double*>(inputs[1]) : nullptr,
                    static_cast<double*>(output));
    });
  }

 private:
  DType dtype_;
  int rows_;
  int length_;
  int parts_;
  bool draws_;
  double temperature_;
};

/// Blocks and places are counted in 32 bits.
bool supports(const KernelRequest& request) {
  const Shape& scores = request.inputs[0].shape();
  return scores[1] < Limits<int>::high / 2 && scores[0] * (scores[1] / part_length + 1) < Limits<int>::high;
}

constexpr KernelEntry entries[] = {
    {.op = "categorical",
     .prepare = [](const KernelRequest& request) -> std::unique_ptr<Kernel> {
       return std::make_unique<CategoricalKernel>(request);
     },
     .supports = supports},
};

}  // namespace

kernels::Entries kernels::categorical() { return entries; }

}  // namespace wick::cuda
