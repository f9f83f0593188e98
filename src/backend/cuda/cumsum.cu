#include <type_traits>

#include "backend/cuda/check.h"
#include "backend/cuda/dispatch.cuh"
#include "backend/cuda/grid.h"
#include "backend/cuda/kernels.h"
#include "backend/cuda/launch.h"
#include "backend/cuda/lines.h"
#include "ops/attributes.h"

namespace wick::cuda {
namespace {

constexpr int block_threads = 256;
constexpr int warps = block_threads / 32;
/// From this many lines on, a thread each keeps the GPU busy.
constexpr std::int64_t many_lines = 8192;

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

/// A block a line: the sums of its threads' elements, then of the warps, carried from part to part.
template <typename T>
__global__ void __launch_bounds__(block_threads)
    add_up_by_blocks(const __grid_constant__ Lines lines, const T* x, T* out) {
  __shared__ Running<T> of_warps[warps];
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  for (auto i = static_cast<long long>(blockIdx.x); i < static_cast<long long>(lines.first.count);
       i += gridDim.x) {
    const T* const from = x + lines.begin(i);
    T* const to = out + lines.row_major_begin(i);
    Running<T> carried = 0;
    for (long long first = 0; first < lines.length; first += block_threads) {
      const long long k = first + threadIdx.x;
      Running<T> sum =
          k < lines.length ? static_cast<Running<T>>(read(from[k * lines.stride])) : Running<T>(0);
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
      if (k < lines.length) to[k * lines.inner] = as_element<T>(sum);
      __syncthreads();
    }
  }
}

class CumsumKernel final : public Kernel {
 public:
  explicit CumsumKernel(const KernelRequest& request)
      : dtype_(request.output.dtype),
        lines_(Lines::of(request.inputs[0].layout, static_cast<int>(request.attrs.as<AxisAttrs>().axis))) {}

  void run(const void* const* inputs, void* output, void* /*scratch*/) const override {
    if (lines_.length == 0 || lines_.count() == 0) return;
    visit_element(dtype_, [&]<typename T>() {
      if constexpr (!std::is_same_v<T, Bool>) {
        const bool by_threads = lines_.count() >= many_lines || lines_.length < 32;
        const auto kernel = by_threads ? add_up_by_threads<T> : add_up_by_blocks<T>;
        const std::int64_t threads = by_threads ? lines_.count() : lines_.count() * block_threads;
        kernel<<<blocks_for(threads, block_threads), block_threads, 0, current_launch().stream>>>(
            lines_, static_cast<const T*>(inputs[0]), static_cast<T*>(output));
      }
    });
    check_launch("cumsum");
  }

 private:
  DType dtype_;
  Lines lines_;
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
