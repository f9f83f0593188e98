#include <array>

#include "backend/cpu/highway_targets.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/row_parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/rope.cpp"
#include <hwy/foreach_target.h>

#include "backend/cpu/float_io-inl.h"

HWY_BEFORE_NAMESPACE();
namespace wick::HWY_NAMESPACE {

template <typename T>
void rotate(const T* x, const float* cos, const float* sin, T* out, std::int64_t half) {
  for (std::int64_t i = 0; i < half; i += lanes) {
    const std::int64_t n = std::min(lanes, half - i);
    const bool whole = n == lanes;
    const FloatVec c = load_some(cos + i, n);
    const FloatVec s = load_some(sin + i, n);
    const FloatVec x1 = whole ? load(x + i) : load_first(x + i, n, 0.0f);
    const FloatVec x2 = whole ? load(x + half + i) : load_first(x + half + i, n, 0.0f);
    const FloatVec y1 = hn::Sub(hn::Mul(x1, c), hn::Mul(x2, s));
    const FloatVec y2 = hn::Add(hn::Mul(x2, c), hn::Mul(x1, s));
    if (whole) {
      store(y1, out + i);
      store(y2, out + half + i);
    } else {
      store_first(y1, out + i, n);
      store_first(y2, out + half + i, n);
    }
  }
}

void Rotate(DType dtype, const void* x, const float* cos, const float* sin, void* out, std::int64_t half) {
  if (dtype == DType::bf16)
    rotate(static_cast<const bfloat16*>(x), cos, sin, static_cast<bfloat16*>(out), half);
  else if (dtype == DType::f16)
    rotate(static_cast<const float16*>(x), cos, sin, static_cast<float16*>(out), half);
  else
    rotate(static_cast<const float*>(x), cos, sin, static_cast<float*>(out), half);
}

}  // namespace wick::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wick {
namespace {

HWY_EXPORT(Rotate);

/// Distances in elements along [batch, heads, length, d]; 0 along dimensions of size 1.
using Steps = std::array<std::int64_t, 4>;

Steps steps_of(const Layout& layout, std::array<int, 4> axes) {
  Steps steps{};
  for (std::size_t i = 0; i < 4; ++i)
    if (axes[i] >= 0 && layout.shape[axes[i]] > 1)
      steps[i] = layout.strides[static_cast<std::size_t>(axes[i])];
  return steps;
}

/// One row whose elements lie apart.
template <typename T>
void rotate_apart(const T* x, std::int64_t x_step, const float* cos, std::int64_t cos_step, const float* sin,
                  std::int64_t sin_step, T* out, std::int64_t half) {
  for (std::int64_t i = 0; i < half; ++i) {
    const auto x1 = static_cast<float>(x[i * x_step]);
    const auto x2 = static_cast<float>(x[(half + i) * x_step]);
    const float c = cos[i * cos_step];
    const float s = sin[i * sin_step];
    out[i] = T(x1 * c - x2 * s);
    out[half + i] = T(x2 * c + x1 * s);
  }
}

/// Reads its inputs wherever they lie: the heads of a projection need no copy first.
class RopeKernel final : public Kernel {
 public:
  explicit RopeKernel(const KernelRequest& request)
      : dtype_(request.output.dtype),
        shape_(request.output.shape()),
        x_(steps_of(request.inputs[0].layout, {0, 1, 2, 3})),
        cos_(steps_of(request.inputs[1].layout, {0, -1, 1, 2})),
        sin_(steps_of(request.inputs[2].layout, {0, -1, 1, 2})),
        out_(steps_of(request.output.layout, {0, 1, 2, 3})) {}

  void run(const void* const* inputs, void* output, void*) const override {
    const std::int64_t heads = shape_[1];
    const std::int64_t length = shape_[2];
    const std::int64_t d = shape_[3];
    parallel_rows(shape_[0] * heads * length, d, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        const auto offset = [&](const Steps& steps) {
          return row / length / heads * steps[0] + row / length % heads * steps[1] + row % length * steps[2];
        };
        const auto element = static_cast<std::int64_t>(size_of(dtype_));
        rotate_row(static_cast<const std::byte*>(inputs[0]) + offset(x_) * element,
                   static_cast<const float*>(inputs[1]) + offset(cos_),
                   static_cast<const float*>(inputs[2]) + offset(sin_),
                   static_cast<std::byte*>(output) + offset(out_) * element, d / 2);
      }
    });
  }

 private:
  void rotate_row(const void* x, const float* cos, const float* sin, void* out, std::int64_t half) const {
    const auto together = [](const Steps& steps) { return steps[3] == 1; };
    if (half == 1 || !together(x_) || !together(cos_) || !together(sin_)) {
      const auto apart = [&](auto zero) {
        using T = decltype(zero);
        rotate_apart(static_cast<const T*>(x), x_[3], cos, cos_[3], sin, sin_[3], static_cast<T*>(out), half);
      };
      if (dtype_ == DType::bf16)
        apart(bfloat16{});
      else if (dtype_ == DType::f16)
        apart(float16{});
      else
        apart(float{});
      return;
    }
    HWY_DYNAMIC_DISPATCH(Rotate)(dtype_, x, cos, sin, out, half);
  }

  DType dtype_;
  Shape shape_;
  Steps x_;
  Steps cos_;
  Steps sin_;
  Steps out_;
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

namespace cpu_kernels {
Entries rope() { return entries; }
}  // namespace cpu_kernels

}  // namespace wick
#endif
