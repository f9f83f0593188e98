#include <array>
#include <cstdint>

#include "backend/cuda/device/launch_order.cuh"
#include "backend/cuda/dispatch.cuh"
#include "backend/cuda/grid.h"
#include "backend/cuda/indexing.h"
#include "backend/cuda/indices.cuh"
#include "backend/cuda/launch_kernel.h"
#include "ops/attributes.h"

namespace wick::cuda {
namespace {

constexpr int block_threads = 256;
using Position = unsigned long long;

/// out[o, j, i] = x[o, indices[j], i], with o, j and i for several dimensions each.
struct TakeShape {
  Position count;    ///< of outputs
  Position indices;  ///< j
  Dims<Position> outer;
  Steps<Position> outer_steps;
  Dims<Position> inner;
  Steps<Position> inner_steps;
  long long stride;  ///< of the axis
};

/// Outputs of an index that is out of range are 0.
template <typename Word>
__global__ void __launch_bounds__(block_threads)
    take_words(const __grid_constant__ TakeShape shape, const __grid_constant__ IndexList indices,
               const Word* x, Word* out) {
  begin_in_order();
  for (Position i = blockIdx.x * static_cast<Position>(block_threads) + threadIdx.x; i < shape.count;
       i += static_cast<Position>(gridDim.x) * block_threads) {
    const Position row = i / shape.inner.count;
    const long long index = indices.at(row % shape.indices);
    out[i] = index < 0
                 ? Word{}
                 : x[offset_at(shape.outer, row / shape.indices, shape.outer_steps) + index * shape.stride +
                     offset_at(shape.inner, i % shape.inner.count, shape.inner_steps)];
  }
}

class TakeKernel final : public Kernel {
 public:
  explicit TakeKernel(const KernelRequest& request)
      : indices_(request.inputs[1]),
        element_(size_of(request.output.dtype)),
        axis_(static_cast<int>(request.attrs.as<AxisAttrs>().axis)),
        x_(request.inputs[0].layout),
        outer_(x_, 0, axis_),
        inner_(x_, axis_ + 1, x_.shape.rank()),
        count_(request.output.shape().elements()) {}

  void run(const void* const* inputs, void* output, void* /*scratch*/) const override {
    if (count_ == 0) return check_indices(inputs[1]);
    const std::size_t bytes = word_bytes(inputs[0], output);
    const auto width = static_cast<std::int64_t>(bytes / element_);
    TakeShape shape{static_cast<Position>(count_ / width),
                    static_cast<Position>(indices_.shape().elements()),
                    outer_.device_dims<Position>(),
                    outer_.device_steps<Position>(0),
                    inner_.device_dims<Position>(static_cast<int>(width)),
                    inner_.device_steps<Position>(0),
                    x_.strides[static_cast<std::size_t>(axis_)] / width};
    for (long long& step : shape.outer_steps.by) step /= width;
    visit_word(bytes, [&]<typename Word>() {
      launch_kernel(take_words<Word>, {blocks_for(count_ / width, block_threads), block_threads},
                    current_launch().stream, "take_words", shape,
                    index_list(indices_, inputs[1], x_.shape[axis_]), static_cast<const Word*>(inputs[0]),
                    static_cast<Word*>(output));
    });
  }

 private:
  /// Bytes that are moved at once: more than an element where rows lie together and divide into such words.
  std::size_t word_bytes(const void* x, const void* out) const {
    if (inner_.dims().size() != 1 || inner_.dims()[0].strides[0] != 1) return element_;
    std::uint64_t all = reinterpret_cast<std::uintptr_t>(x) | reinterpret_cast<std::uintptr_t>(out) | 16 |
                        static_cast<std::uint64_t>(inner_.count()) * element_ |
                        static_cast<std::uint64_t>(x_.strides[static_cast<std::size_t>(axis_)]) * element_;
    for (const StridedShape::Dim& dim : outer_.dims())
      all |= static_cast<std::uint64_t>(dim.strides[0]) * element_;
    return all & -all;
  }

  /// Nothing is taken of an empty x, but an index can be out of range.
  void check_indices(const void* indices) const;

  Slot indices_;
  std::size_t element_;
  int axis_;
  Layout x_;
  StridedShape outer_;
  StridedShape inner_;
  std::int64_t count_;
};

__global__ void __launch_bounds__(block_threads) read_indices(const __grid_constant__ IndexList indices) {
  begin_in_order();
  for (Position i = blockIdx.x * static_cast<Position>(block_threads) + threadIdx.x; i < indices.dims.count;
       i += static_cast<Position>(gridDim.x) * block_threads)
    (void)indices.at(i);
}

void TakeKernel::check_indices(const void* indices) const {
  const std::int64_t count = indices_.shape().elements();
  if (count == 0) return;
  launch_kernel(read_indices, {blocks_for(count, block_threads), block_threads}, current_launch().stream,
                "read_indices", index_list(indices_, indices, x_.shape[axis_]));
}

/// out[p] = x[p with its coordinate along the axis replaced by indices[p]]; 0 for an index that is out of
/// range.
template <typename Word>
__global__ void __launch_bounds__(block_threads)
    take_along(const __grid_constant__ Dims<Position> dims, const __grid_constant__ Steps<Position> steps,
               long long stride, const __grid_constant__ IndexList indices, const Word* x, Word* out) {
  begin_in_order();
  for (Position i = blockIdx.x * static_cast<Position>(block_threads) + threadIdx.x; i < dims.count;
       i += static_cast<Position>(gridDim.x) * block_threads) {
    const long long index = indices.at(i);
    out[i] = index < 0 ? Word{} : x[offset_at(dims, i, steps) + index * stride];
  }
}

class TakeAlongAxisKernel final : public Kernel {
 public:
  explicit TakeAlongAxisKernel(const KernelRequest& request)
      : indices_(request.inputs[1]),
        element_(size_of(request.output.dtype)),
        axis_(static_cast<std::size_t>(request.attrs.as<AxisAttrs>().axis)),
        size_(request.inputs[0].shape()[static_cast<int>(axis_)]),
        stride_(request.inputs[0].layout.strides[axis_]),
        walk_(request.output.shape(),
              std::array<Strides, 1>{without_axis(request.inputs[0].layout.strides)}) {}

  void run(const void* const* inputs, void* output, void* /*scratch*/) const override {
    if (walk_.count() == 0) return;
    visit_word(element_, [&]<typename Word>() {
      launch_kernel(take_along<Word>, {blocks_for(walk_.count(), block_threads), block_threads},
                    current_launch().stream, "take_along", walk_.device_dims<Position>(),
                    walk_.device_steps<Position>(0), stride_, index_list(indices_, inputs[1], size_),
                    static_cast<const Word*>(inputs[0]), static_cast<Word*>(output));
    });
  }

 private:
  Strides without_axis(Strides strides) const {
    strides[axis_] = 0;
    return strides;
  }

  Slot indices_;
  std::size_t element_;
  std::size_t axis_;
  std::int64_t size_;
  std::int64_t stride_;
  StridedShape walk_;
};

}  // namespace

std::unique_ptr<Kernel> prepare_take(const KernelRequest& request) {
  return std::make_unique<TakeKernel>(request);
}

std::unique_ptr<Kernel> prepare_take_along_axis(const KernelRequest& request) {
  return std::make_unique<TakeAlongAxisKernel>(request);
}

}  // namespace wick::cuda
