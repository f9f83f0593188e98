#include <array>

#include "backend/cuda/device/launch_order.cuh"
#include "backend/cuda/device/reduce.cuh"
#include "backend/cuda/dispatch.cuh"
#include "backend/cuda/launch.h"
#include "backend/cuda/launch_kernel.h"
#include "backend/cuda/reduce.h"
#include "backend/cuda/reduce_split.h"

namespace wick::cuda {
namespace {

/// Elements as they lie in memory.
template <typename T>
struct MemoryElements {
  static constexpr int width = 16 / sizeof(T);
  const T* x;

  template <typename Offset>
  __device__ Wide<T> at(const Offset (&offsets)[1]) const {
    return read(x[offsets[0]]);
  }
  template <typename Offset>
  __device__ Pack<T, width> pack(const Offset (&offsets)[1], long long r) const {
    return load_pack<width>(x + offsets[0] + r);
  }
};

template <typename R, typename Index>
__global__ void __launch_bounds__(reduce_threads)
    reduce_elements(const __grid_constant__ Walks<Index, 1> walks, const Split split,
                    const MemoryElements<typename R::Element> elements, typename R::Result* out,
                    typename R::Total* totals) {
  begin_in_order();
  reduce_part<R>(walks, split, elements, out, totals);
}

template <typename R>
__global__ void __launch_bounds__(reduce_threads)
    combine_parts(const typename R::Total* totals, long long parts, long long outputs, const Split split,
                  typename R::Result* out) {
  begin_in_order();
  combine_totals<R>(totals, parts, outputs, split, out);
}

class ReduceKernel final : public Kernel {
 public:
  ReduceKernel(Reduction reduction, const KernelRequest& request, std::uint32_t axes)
      : reduction_(reduction),
        dtype_(request.inputs[0].dtype),
        split_(request.inputs[0].shape(), std::array<Strides, 1>{request.inputs[0].layout.strides}, axes,
               static_cast<std::int64_t>(16 / size_of(dtype_))) {}

  std::size_t scratch_bytes() const override {
    constexpr std::size_t total_bytes = 16;  // of the largest: a value and its place
    return static_cast<std::size_t>(split_.totals()) * total_bytes;
  }

  void run(const void* const* inputs, void* output, void* scratch) const override {
    if (split_.outputs() == 0) return;
    visit_element(dtype_, [&]<typename T>() {
      switch (reduction_) {
        case Reduction::sum: return launch<SumOf<T>>(inputs[0], output, scratch);
        case Reduction::max: return launch<ExtremumOf<true, T>>(inputs[0], output, scratch);
        case Reduction::min: return launch<ExtremumOf<false, T>>(inputs[0], output, scratch);
        case Reduction::argmax: return launch<PlaceOf<true, T>>(inputs[0], output, scratch);
        case Reduction::argmin: return launch<PlaceOf<false, T>>(inputs[0], output, scratch);
      }
    });
  }

 private:
  template <typename R>
  void launch(const void* x, void* output, void* scratch) const {
    if (split_.is_small())
      launch_with<R, unsigned int>(x, output, scratch);
    else
      launch_with<R, unsigned long long>(x, output, scratch);
  }

  template <typename R, typename Index>
  void launch_with(const void* x, void* output, void* scratch) const {
    const cudaStream_t stream = current_launch().stream;
    Split split = split_.split;
    split.packs = split_.may_pack && reinterpret_cast<std::uintptr_t>(x) % 16 == 0;
    const dim3 blocks(split_.blocks(), static_cast<unsigned>(split_.parts));
    auto* const out = static_cast<typename R::Result*>(output);
    auto* const totals = static_cast<typename R::Total*>(scratch);
    launch_kernel(
        reduce_elements<R, Index>, {blocks, reduce_threads}, stream, "a reduction", split_.walks<Index, 1>(),
        split, MemoryElements<typename R::Element>{static_cast<const typename R::Element*>(x)}, out, totals);
    if (split_.parts == 1) return;
    launch_kernel(combine_parts<R>, {split_.combining_blocks(), reduce_threads}, stream, "a reduction",
                  totals, split_.parts, split_.outputs(), split_.over_parts(), out);
  }

  Reduction reduction_;
  DType dtype_;
  ReduceSplit split_;
};

}  // namespace

std::unique_ptr<Kernel> make_reduce(Reduction reduction, const KernelRequest& request, std::uint32_t axes) {
  return std::make_unique<ReduceKernel>(reduction, request, axes);
}

}  // namespace wick::cuda
