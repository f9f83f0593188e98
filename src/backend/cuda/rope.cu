#include <array>
#include <cstdint>

#include "backend/cuda/device/index.cuh"
#include "backend/cuda/device/launch_order.cuh"
#include "backend/cuda/dispatch.cuh"
#include "backend/cuda/grid.h"
#include "backend/cuda/kernels.h"
#include "backend/cuda/launch.h"
#include "backend/cuda/launch_kernel.h"
#include "backend/cuda/rows.cuh"

namespace wick::cuda {
namespace {

constexpr int block_threads = 256;

/// Distances in elements along [batch, heads, length, d]; 0 along dimensions of size 1.
struct RopeSteps {
  long long batch;
  long long head;
  long long position;
  long long element;
};

struct RopeShape {
  long long items;  ///< packs of the first halves
  long long heads;
  long long length;
  int half;
  RopeSteps x;
  RopeSteps cos;
  RopeSteps sin;
  RopeSteps out;
};

/// Each thread turns `width` pairs of a row; more than one where all of them lie together.
template <typename T, int width>
__global__ void __launch_bounds__(block_threads)
    rotate(const __grid_constant__ RopeShape shape, const T* x, const float* cos, const float* sin, T* out) {
  begin_in_order();
  const int packs = shape.half / width;
  for (auto i = blockIdx.x * static_cast<long long>(block_threads) + threadIdx.x; i < shape.items;
       i += static_cast<long long>(gridDim.x) * block_threads) {
    const long long row = i / packs;
    const int at = static_cast<int>(i % packs) * width;
    const long long position = row % shape.length;
    const long long head = row / shape.length % shape.heads;
    const long long batch = row / shape.length / shape.heads;
    const auto offset = [&](const RopeSteps& steps, int element) {
      return batch * steps.batch + head * steps.head + position * steps.position + element * steps.element;
    };
    const auto x1 = load_pack<width>(x + offset(shape.x, at));
    const auto x2 = load_pack<width>(x + offset(shape.x, shape.half + at));
    const auto c = load_pack<width>(cos + offset(shape.cos, at));
    const auto s = load_pack<width>(sin + offset(shape.sin, at));
    Pack<T, width> y1;
    Pack<T, width> y2;
#pragma unroll
    for (int j = 0; j < width; ++j) {
      const float a = read(x1.at[j]);
      const float b = read(x2.at[j]);
      y1.at[j] = written<T>(a * c.at[j] - b * s.at[j]);
      y2.at[j] = written<T>(b * c.at[j] + a * s.at[j]);
    }
    store_pack(out + offset(shape.out, at), y1);
    store_pack(out + offset(shape.out, shape.half + at), y2);
  }
}

RopeSteps steps_of(const Layout& layout, std::array<int, 4> axes) {
  std::array<long long, 4> steps{};
  for (std::size_t i = 0; i < 4; ++i)
    if (axes[i] >= 0 && layout.shape[axes[i]] > 1)
      steps[i] = layout.strides[static_cast<std::size_t>(axes[i])];
  return {steps[0], steps[1], steps[2], steps[3]};
}

/// Reads its inputs wherever they lie: the heads of a projection need no copy first.
class RopeKernel final : public Kernel {
 public:
  explicit RopeKernel(const KernelRequest& request)
      : dtype_(request.output.dtype), pairs_(request.output.shape().elements() / 2) {
    const Shape& shape = request.output.shape();
    shape_ = {pairs_,
              shape[1],
              shape[2],
              static_cast<int>(shape[3] / 2),
              steps_of(request.inputs[0].layout, {0, 1, 2, 3}),
              steps_of(request.inputs[1].layout, {0, -1, 1, 2}),
              steps_of(request.inputs[2].layout, {0, -1, 1, 2}),
              steps_of(request.output.layout, {0, 1, 2, 3})};
  }

  void run(const void* const* inputs, void* output, void* /*scratch*/) const override {
    if (pairs_ == 0) return;
    visit_narrow(dtype_, [&]<typename T>() {
      constexpr int width = row_width<T>;
      bool together = shape_.half % width == 0 && is_aligned_16(output) && lies_in_packs(shape_.out, width);
      for (std::size_t k = 0; k < 3; ++k)
        together = together && is_aligned_16(inputs[k]) &&
                   lies_in_packs(k == 0   ? shape_.x
                                 : k == 1 ? shape_.cos
                                          : shape_.sin,
                                 width);
      if (together)
        launch<T, width>(inputs, output);
      else
        launch<T, 1>(inputs, output);
    });
  }

 private:
  static bool lies_in_packs(const RopeSteps& steps, int width) {
    return steps.element == 1 && steps.batch % width == 0 && steps.head % width == 0 &&
           steps.position % width == 0;
  }

  template <typename T, int width>
  void launch(const void* const* inputs, void* output) const {
    RopeShape shape = shape_;
    shape.items = pairs_ / width;
    launch_kernel(rotate<T, width>, {blocks_for(shape.items, block_threads), block_threads},
                  current_launch().stream, "rotate", shape, static_cast<const T*>(inputs[0]),
                  static_cast<const float*>(inputs[1]), static_cast<const float*>(inputs[2]),
                  static_cast<T*>(output));
  }

  DType dtype_;
  std::int64_t pairs_;
  RopeShape shape_{};
};

bool supports(const KernelRequest& request) { return request.output.dtype != DType::f64; }

constexpr KernelEntry entries[] = {
    {.op = "rope",
     .prepare = [](const KernelRequest& request) -> std::unique_ptr<Kernel> {
       return std::make_unique<RopeKernel>(request);
     },
     .layouts = InputLayouts::strided,
     .supports = supports,
     .any_row_order = true},
};

}  // namespace

kernels::Entries kernels::rope() { return entries; }

}  // namespace wick::cuda
