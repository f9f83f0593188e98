#include <algorithm>
#include <vector>

#include "backend/cuda/device/launch_order.cuh"
#include "backend/cuda/kernels.h"
#include "backend/cuda/launch.h"
#include "backend/cuda/launch_kernel.h"
#include "backend/cuda/rows.cuh"

namespace wick::cuda {
namespace {

constexpr int block_threads = 256;
constexpr long long part_elements = 16384;  // a block's
constexpr int most_members = 160;           // of a launch: 24 bytes of arguments each

/// Arrays whose squares one launch adds up.
struct Members {
  struct Member {
    const float* x;
    long long count;
    long long first_part;  // of this member, in the grid
  };
  Member at[most_members];
  int count;
};

/// The last member that begins at this part or before.
__device__ const Members::Member& member_of(const Members& members, long long part) {
  int low = 0;
  int high = members.count - 1;
  while (low < high) {
    const int middle = (low + high + 1) / 2;
    if (members.at[middle].first_part <= part)
      low = middle;
    else
      high = middle - 1;
  }
  return members.at[low];
}

/// sums[part] = the sum over a part of one member, in an order that only its size decides
__global__ void __launch_bounds__(block_threads)
    sum_parts(const __grid_constant__ Members members, double* sums) {
  begin_in_order();
  const Members::Member& member = member_of(members, blockIdx.x);
  const long long first = (blockIdx.x - member.first_part) * part_elements;
  const long long left = member.count - first;
  const float* const x = member.x + first;
  const int count = static_cast<int>(left < part_elements ? left : part_elements);
  double total = 0;
  if (reinterpret_cast<unsigned long long>(x) % 16 == 0) {
    for (int i = static_cast<int>(threadIdx.x) * 4; i < count; i += block_threads * 4) {
      const auto pack = load_pack<4>(x + i, count - i < 4 ? count - i : 4);
#pragma unroll
      for (int j = 0; j < 4; ++j)
        if (i + j < count) total += static_cast<double>(pack.at[j] * pack.at[j]);
    }
  } else {
    for (int i = static_cast<int>(threadIdx.x); i < count; i += block_threads)
      total += static_cast<double>(x[i] * x[i]);
  }
  total = block_sum(total);
  if (threadIdx.x == 0) sums[blockIdx.x] = total;
}

__global__ void __launch_bounds__(block_threads) sum_all(const double* sums, int count, float* out) {
  begin_in_order();
  double total = 0;
  for (int i = static_cast<int>(threadIdx.x); i < count; i += block_threads) total += sums[i];
  total = block_sum(total);
  if (threadIdx.x == 0) *out = static_cast<float>(total);
}

class SumOfSquaresKernel final : public Kernel {
 public:
  explicit SumOfSquaresKernel(const KernelRequest& request) {
    for (const Slot& input : request.inputs) {
      counts_.push_back(input.shape().elements());
      parts_ += parts_of(counts_.back());
    }
  }
  std::size_t scratch_bytes() const override {
    return static_cast<std::size_t>(std::max<long long>(parts_, 1)) * sizeof(double);
  }

  void run(const void* const* inputs, void* output, void* scratch) const override {
    auto* const sums = static_cast<double*>(scratch);
    const cudaStream_t stream = current_launch().stream;
    Members members{};
    long long launched = 0;
    long long parts = 0;
    const auto launch = [&] {
      if (parts > 0)
        launch_kernel(sum_parts, {static_cast<unsigned int>(parts), block_threads}, stream, "sum_of_squares",
                      members, sums + launched);
      launched += parts;
      parts = 0;
      members.count = 0;
    };
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      if (counts_[i] == 0) continue;
      members.at[members.count++] = {static_cast<const float*>(inputs[i]), counts_[i], parts};
      parts += parts_of(counts_[i]);
      if (members.count == most_members) launch();
    }
    launch();
    launch_kernel(sum_all, {1, block_threads}, stream, "sum_of_squares", sums, static_cast<int>(parts_),
                  static_cast<float*>(output));
  }

 private:
  static long long parts_of(long long count) { return (count + part_elements - 1) / part_elements; }

  std::vector<long long> counts_;
  long long parts_ = 0;
};

constexpr KernelEntry entries[] = {
    {.op = "sum_of_squares",
     .prepare = [](const KernelRequest& request) -> std::unique_ptr<Kernel> {
       return std::make_unique<SumOfSquaresKernel>(request);
     },
     .supports = [](const KernelRequest& request) { return request.output.dtype == DType::f32; }}};

}  // namespace

kernels::Entries kernels::sum_of_squares() { return entries; }

}  // namespace wick::cuda
