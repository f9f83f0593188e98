#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>

#include "backend/cuda/check.h"
#include "backend/cuda/device/index.cuh"
#include "backend/cuda/dispatch.cuh"
#include "backend/cuda/launch.h"
#include "backend/cuda/reduce.h"
#include "backend/cuda/reductions.cuh"
#include "backend/cuda/strided_shape.h"

namespace wick::cuda {
namespace {

constexpr int block_threads = 256;
constexpr std::int64_t enough_blocks = 528;  // four for each multiprocessor of the largest GPUs
constexpr std::int64_t most_parts = 1024;

/// How a block's threads divide the work: `lanes` of them share an output, each with every lanes-th element.
struct Split {
  int lanes = 1;
  bool lanes_together = false;  ///< neighbouring threads share an output; else they have neighbouring outputs
  bool packs = false;           ///< reduced elements are read 16 bytes at once
  long long part = 0;           ///< reduced elements of a block
};

template <typename Index>
struct Walks {
  Dims<Index> kept;
  Steps<Index> kept_steps;
  Dims<Index> reduced;
  Steps<Index> reduced_steps;
};

/// The total of `lanes` threads, in those of lane 0; the order depends on their number only.
template <typename R>
__device__ typename R::Total total_of_lanes(typename R::Total total, const Split& split, int lane) {
  __shared__ typename R::Total totals[block_threads];
  const int apart = split.lanes_together ? 1 : block_threads / split.lanes;
  totals[threadIdx.x] = total;
  for (int half = split.lanes / 2; half > 0; half /= 2) {
    __syncthreads();
    if (lane < half)
      totals[threadIdx.x] = R::combined(totals[threadIdx.x], totals[threadIdx.x + half * apart]);
  }
  return totals[threadIdx.x];
}

struct Place {
  int lane;
  long long output;
};

__device__ __forceinline__ Place place_of(const Split& split) {
  const int outputs = block_threads / split.lanes;
  const int thread = static_cast<int>(threadIdx.x);
  const long long first = static_cast<long long>(blockIdx.x) * outputs;
  if (split.lanes_together) return {thread % split.lanes, first + thread / split.lanes};
  return {thread / outputs, first + thread % outputs};
}

/// Totals of parts go to `totals` [parts, outputs]; of the only part, to `out`.
template <typename R, typename Index>
__global__ void __launch_bounds__(block_threads)
    reduce_elements(const __grid_constant__ Walks<Index> walks, const Split split,
                    const typename R::Element* x, typename R::Result* out, typename R::Total* totals) {
  const auto [lane, output] = place_of(split);
  const bool used = output < static_cast<long long>(walks.kept.count);
  auto total = R::start();
  if (used) {
    const typename R::Element* line = x + offset_at(walks.kept, static_cast<Index>(output), walks.kept_steps);
    const auto begin = static_cast<long long>(blockIdx.y) * split.part;
    const auto end = min(begin + split.part, static_cast<long long>(walks.reduced.count));
    auto at = begin + lane;
    if (split.packs) {
      constexpr int width = 16 / sizeof(typename R::Element);
      const long long whole = begin + (end - begin) / width * width;
#pragma unroll 4
      for (long long r = begin + lane * width; r < whole; r += static_cast<long long>(split.lanes) * width)
        total = R::combined(total, R::template of_pack<width>(load_pack<width>(line + r), r));
      at = whole + lane;
    }
#pragma unroll 4
    for (; at < end; at += split.lanes)
      total = R::combined(
          total,
          R::of(read(line[offset_at(walks.reduced, static_cast<Index>(at), walks.reduced_steps)]), at));
  }
  total = total_of_lanes<R>(total, split, lane);
  if (!used || lane != 0) return;
  if (gridDim.y == 1)
    out[output] = R::result(total);
  else
    totals[blockIdx.y * static_cast<long long>(walks.kept.count) + output] = total;
}

template <typename R>
__global__ void __launch_bounds__(block_threads)
    combine_parts(const typename R::Total* totals, long long parts, long long outputs, const Split split,
                  typename R::Result* out) {
  const auto [lane, output] = place_of(split);
  auto total = R::start();
  if (output < outputs)
    for (long long part = lane; part < parts; part += split.lanes)
      total = R::combined(total, totals[part * outputs + output]);
  total = total_of_lanes<R>(total, split, lane);
  if (output < outputs && lane == 0) out[output] = R::result(total);
}

int power_of_two(std::int64_t at_least, int most) {
  return static_cast<int>(
      std::bit_ceil(static_cast<std::uint64_t>(std::clamp<std::int64_t>(at_least, 1, most))));
}

std::int64_t inner_stride(const StridedShape& shape) {
  return shape.dims().empty() ? 0 : std::abs(shape.dims().back().strides[0]);
}

std::vector<StridedShape::Dim> select_dims(const Layout& layout, std::uint32_t axes, bool reduced) {
  std::vector<StridedShape::Dim> dims;
  for (int d = 0; d < layout.shape.rank(); ++d)
    if (((axes >> d & 1u) != 0) == reduced)
      dims.push_back({layout.shape[d], {layout.strides[static_cast<std::size_t>(d)]}});
  return dims;
}

unsigned blocks_of(std::int64_t outputs, const Split& split) {
  const int a_block = block_threads / split.lanes;
  return static_cast<unsigned>((outputs + a_block - 1) / a_block);
}

/// How the work is split depends on shapes only, so the bits of the result do too.
class ReduceKernel final : public Kernel {
 public:
  ReduceKernel(Reduction reduction, const KernelRequest& request, std::uint32_t axes)
      : reduction_(reduction),
        dtype_(request.inputs[0].dtype),
        kept_(select_dims(request.inputs[0].layout, axes, false)),
        reduced_(select_dims(request.inputs[0].layout, axes, true)) {
    const std::int64_t outputs = kept_.count();
    const std::int64_t count = reduced_.count();
    const auto width = static_cast<std::int64_t>(16 / size_of(dtype_));
    split_.lanes_together = outputs == 1 || inner_stride(reduced_) < inner_stride(kept_);
    may_pack_ = split_.lanes_together && count >= width && reduced_.dims().size() == 1 &&
                reduced_.dims()[0].strides[0] == 1;
    for (const StridedShape::Dim& dim : kept_.dims()) may_pack_ = may_pack_ && dim.strides[0] % width == 0;
    if (split_.lanes_together)
      split_.lanes = power_of_two(count / (may_pack_ ? 2 * width : 4), block_threads);
    else
      split_.lanes = std::min(power_of_two(count / 4, block_threads),
                              block_threads / power_of_two(outputs, block_threads / 8));
    split_.part = std::max<std::int64_t>(count, 1);
    if (outputs == 0) return;
    const std::int64_t wanted = std::clamp<std::int64_t>(
        std::min(enough_blocks / blocks_of(outputs, split_), count / (std::int64_t{16} * split_.lanes)), 1,
        most_parts);
    split_.part = std::max<std::int64_t>(16, ((count + wanted - 1) / wanted + 15) / 16 * 16);
    parts_ = std::max<std::int64_t>(1, (count + split_.part - 1) / split_.part);
  }

  std::size_t scratch_bytes() const override {
    constexpr std::size_t total_bytes = 16;  // of the largest: a value and its place
    return parts_ == 1 ? 0 : static_cast<std::size_t>(parts_ * kept_.count()) * total_bytes;
  }

  void run(const void* const* inputs, void* output, void* scratch) const override {
    if (kept_.count() == 0) return;
    visit_element(dtype_, [&]<typename T>() {
      switch (reduction_) {
        case Reduction::sum: return launch<SumOf<T>>(inputs[0], output, scratch);
        case Reduction::max: return launch<ExtremumOf<true, T>>(inputs[0], output, scratch);
        case Reduction::min: return launch<ExtremumOf<false, T>>(inputs[0], output, scratch);
        case Reduction::argmax: return launch<PlaceOf<true, T>>(inputs[0], output, scratch);
        case Reduction::argmin: return launch<PlaceOf<false, T>>(inputs[0], output, scratch);
      }
    });
    check_launch("a reduction");
  }

 private:
  template <typename R>
  void launch(const void* x, void* output, void* scratch) const {
    if (kept_.is_small() && reduced_.is_small())
      launch_with<R, unsigned int>(x, output, scratch);
    else
      launch_with<R, unsigned long long>(x, output, scratch);
  }

  template <typename R, typename Index>
  void launch_with(const void* x, void* output, void* scratch) const {
    const cudaStream_t stream = current_launch().stream;
    Split split = split_;
    split.packs = may_pack_ && reinterpret_cast<std::uintptr_t>(x) % 16 == 0;
    Walks<Index> walks{kept_.device_dims<Index>(), kept_.device_steps<Index>(0), {}, {}};
    if (reduced_.count() > 0) {
      walks.reduced = reduced_.device_dims<Index>();
      walks.reduced_steps = reduced_.device_steps<Index>(0);
    }
    const dim3 blocks(blocks_of(kept_.count(), split), static_cast<unsigned>(parts_));
    auto* const out = static_cast<typename R::Result*>(output);
    auto* const totals = static_cast<typename R::Total*>(scratch);
    reduce_elements<R, Index><<<blocks, block_threads, 0, stream>>>(
        walks, split, static_cast<const typename R::Element*>(x), out, totals);
    if (parts_ == 1) return;
    const Split over_parts{.lanes = kept_.count() < 8 ? block_threads : 8};
    combine_parts<R><<<blocks_of(kept_.count(), over_parts), block_threads, 0, stream>>>(
        totals, parts_, kept_.count(), over_parts, out);
  }

  Reduction reduction_;
  DType dtype_;
  StridedShape kept_;
  StridedShape reduced_;
  Split split_;
  bool may_pack_ = false;
  std::int64_t parts_ = 1;
};

}  // namespace

std::unique_ptr<Kernel> make_reduce(Reduction reduction, const KernelRequest& request, std::uint32_t axes) {
  return std::make_unique<ReduceKernel>(reduction, request, axes);
}

}  // namespace wick::cuda
