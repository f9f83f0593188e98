#include <algorithm>
#include <type_traits>

#include "backend/cuda/device/launch_order.cuh"
#include "backend/cuda/dispatch.cuh"
#include "backend/cuda/grid.h"
#include "backend/cuda/kernels.h"
#include "backend/cuda/launch.h"
#include "backend/cuda/launch_kernel.h"
#include "backend/cuda/lines.h"
#include "ops/attributes.h"

namespace wick::cuda {
namespace {

constexpr int block_threads = 256;
constexpr int warps = block_threads / 32;
/// From this many lines on, a thread each keeps the GPU busy.
constexpr std::int64_t many_lines = 8192;
/// Fewer lines than this are shared by blocks, with at least so many elements each.
constexpr long long enough_blocks = 528;  // four for each multiprocessor of the largest GPUs
constexpr long long least_part = 4 * block_threads;

/// Floats add up in f64, as a running sum of f32 would lose a little at each of many steps; integers wrap
/// around.
template <typename T>
using Running = std::conditional_t<is_float<Wide<T>>, double, unsigned long long>;

template <typename T>
__device__ T as_element(Running<T> total) {
  return written<T>(static_cast<Wide<T>>(total));
}

/// A thread a line, one element after the other.
template <typename T>
__global__ void __launch_bounds__(block_threads)
    add_up_by_threads(const __grid_constant__ Lines lines, const T* x, T* out) {
  begin_in_order();
  for (auto i = blockIdx.x * static_cast<long long>(block_threads) + threadIdx.x;
       i < static_cast<long long>(lines.first.count);
       i += static_cast<long long>(gridDim.x) * block_threads) {
    const T* from = x + lines.begin(i);
    T* to = out + lines.row_major_begin(i);
    Running<T> total = 0;
    for (long long k = 0; k < lines.length; ++k, from += lines.stride, to += lines.inner) {
      total += static_cast<Running<T>>(read(*from));
      *to = as_element<T>(total);
    }
  }
}

/// What the blocks that share a line need: block (line, part) has the elements from part * length on.
struct Parts {
  long long count;
  long long length;
};

/// The total of a block's numbers, in all of its threads; added up in an order of its own.
template <typename Sum>
__device__ Sum total_of_block(Sum sum) {
  __shared__ Sum of_warps[warps];
  for (int apart = 16; apart > 0; apart /= 2) sum += __shfl_down_sync(~0u, sum, apart);
  if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = sum;
  __syncthreads();
  Sum all = 0;
  for (int w = 0; w < warps; ++w) all += of_warps[w];
  return all;
}

/// The totals of all parts but the last of each line.
template <typename T>
__global__ void __launch_bounds__(block_threads)
    add_up_parts(const __grid_constant__ Lines lines, const Parts parts, const T* x, Running<T>* totals) {
  begin_in_order();
  const long long line = blockIdx.x / (parts.count - 1);
  const long long part = blockIdx.x % (parts.count - 1);
  const T* const from = x + lines.begin(line) + part * parts.length * lines.stride;
  Running<T> sum = 0;
  for (long long k = threadIdx.x; k < parts.length; k += block_threads)
    sum += static_cast<Running<T>>(read(from[k * lines.stride]));
  sum = total_of_block(sum);
  if (threadIdx.x == 0) totals[blockIdx.x] = sum;
}

/// A block a part: the sums of its threads' elements, then of the warps, carried on, behind what the totals
/// of the parts before it come to.
template <typename T>
__global__ void __launch_bounds__(block_threads)
    add_up_by_blocks(const __grid_constant__ Lines lines, const Parts parts, const T* x,
                     const Running<T>* totals, T* out) {
  begin_in_order();
  __shared__ Running<T> of_warps[warps];
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const long long line = blockIdx.x / parts.count;
  const long long part = blockIdx.x % parts.count;
  const T* const from = x + lines.begin(line);
  T* const to = out + lines.row_major_begin(line);
  Running<T> carried = 0;
  for (long long p = threadIdx.x; p < part; p += block_threads)
    carried += totals[line * (parts.count - 1) + p];
  carried = total_of_block(carried);
  const long long end = min(lines.length, (part + 1) * parts.length);
  for (long long first = part * parts.length; first < end; first += block_threads) {
    const long long k = first + threadIdx.x;
    Running<T> sum = k < end ? static_cast<Running<T>>(read(from[k * lines.stride])) : Running<T>(0);
    for (int apart = 1; apart < 32; apart *= 2) {
      const Running<T> before = __shfl_up_sync(~0u, sum, apart);
      if (lane >= apart) sum += before;
    }
    if (lane == 31) of_warps[warp] = sum;
    __syncthreads();
    Running<T> all = carried;
    for (int w = 0; w < warps; ++w) {
      if (w == warp) sum += all;
      all += of_warps[w];
    }
    carried = all;
    if (k < end) to[k * lines.inner] = as_element<T>(sum);
    __syncthreads();
  }
}

/// How lines are divided depends on shapes only, so the bits of the result do too.
class CumsumKernel final : public Kernel {
 public:
  explicit CumsumKernel(const KernelRequest& request)
      : dtype_(request.output.dtype),
        lines_(Lines::of(request.inputs[0].layout, static_cast<int>(request.attrs.as<AxisAttrs>().axis))),
        by_threads_(lines_.count() >= many_lines || lines_.length < 32) {
    if (by_threads_) return;
    const long long wanted = std::clamp<long long>(enough_blocks / std::max<long long>(lines_.count(), 1), 1,
                                                   (lines_.length + least_part - 1) / least_part);
    parts_.length = (lines_.length + wanted - 1) / wanted;
    parts_.count = (lines_.length + parts_.length - 1) / parts_.length;
  }

  std::size_t scratch_bytes() const override {
    return static_cast<std::size_t>(lines_.count() * (parts_.count - 1)) * sizeof(Running<double>);
  }

  void run(const void* const* inputs, void* output, void* scratch) const override {
    if (lines_.length == 0 || lines_.count() == 0) return;
    visit_element(dtype_, [&]<typename T>() {
      if constexpr (!std::is_same_v<T, Bool>)
        launch(static_cast<const T*>(inputs[0]), static_cast<T*>(output), static_cast<Running<T>*>(scratch));
    });
  }

 private:
  template <typename T>
  void launch(const T* x, T* out, Running<T>* totals) const {
    const cudaStream_t stream = current_launch().stream;
    if (by_threads_)
      return launch_kernel(add_up_by_threads<T>, {blocks_for(lines_.count(), block_threads), block_threads},
                           stream, "cumsum", lines_, x, out);
    if (parts_.count > 1)
      launch_kernel(add_up_parts<T>,
                    {static_cast<unsigned>(lines_.count() * (parts_.count - 1)), block_threads}, stream,
                    "cumsum", lines_, parts_, x, totals);
    launch_kernel(add_up_by_blocks<T>, {static_cast<unsigned>(lines_.count() * parts_.count), block_threads},
                  stream, "cumsum", lines_, parts_, x, totals, out);
  }

  DType dtype_;
  Lines lines_;
  bool by_threads_;
  Parts parts_{1, 0};
};

constexpr KernelEntry entries[] = {
    {.op = "cumsum",
     .prepare = [](const KernelRequest& request) -> std::unique_ptr<Kernel> {
       return std::make_unique<CumsumKernel>(request);
     },
     .layouts = InputLayouts::strided,
     .in_place = true},
};

}  // namespace

kernels::Entries kernels::cumsum() { return entries; }

}  // namespace wick::cuda
