#include <algorithm>
#include <array>
#include <vector>

#include "backend/cuda/check.h"
#include "backend/cuda/dispatch.cuh"
#include "backend/cuda/kernels.h"
#include "backend/cuda/launch.h"
#include "backend/cuda/rows.cuh"
#include "ops/attributes.h"

namespace wick::cuda {
namespace {

template <typename T, typename P, template <typename> typename Row>
__global__ void __launch_bounds__(most_row_threads)
    rms_norm_rows(const T* x, const P* weight, T* out, long long rows, int n, float eps) {
  for (long long r = blockIdx.x; r < rows; r += gridDim.x) {
    Row<T> row(x + r * n, n);
    float squares = 0;
    row.each([&](float& v) { squares += v * v; });
    const float scale = 1 / sqrtf(block_sum(squares) / static_cast<float>(n) + eps);
    row.write(
        out + r * n,
        [&](float v, float w) {
          const float normalized = v * scale;
          return weight ? rounded<T>(normalized) * w : normalized;
        },
        weight);
  }
}

template <typename T, typename P, template <typename> typename Row>
__global__ void __launch_bounds__(most_row_threads)
    layer_norm_rows(const T* x, const P* weight, const P* bias, T* out, long long rows, int n, float eps) {
  const auto d = static_cast<float>(n);
  for (long long r = blockIdx.x; r < rows; r += gridDim.x) {
    Row<T> row(x + r * n, n);
    float sum = 0;
    row.each([&](float& v) { sum += v; });
    const float first_mean = block_sum(sum) / d;
    // The second sum also finds what rounding left out of the first mean: a row of nearly equal numbers needs
    // it.
    float left = 0;
    float squares = 0;
    row.each([&](float& v) {
      const float centered = v - first_mean;
      left += centered;
      squares += centered * centered;
    });
    left = block_sum(left) / d;
    const float mean = first_mean + left;
    const float variance = fmaxf(0.0f, block_sum(squares) / d - left * left);
    const float scale = 1 / sqrtf(variance + eps);
    row.write(
        out + r * n,
        [&](float v, float w, float b) {
          float y = (v - mean) * scale;
          if (weight) y *= w;
          return bias ? y + b : y;
        },
        weight, bias);
  }
}

/// The gradient of rms_norm with respect to x: inverse (g w - normalized mean(g w normalized)).
template <typename T, typename P, template <typename> typename Row>
__global__ void __launch_bounds__(most_row_threads)
    rms_norm_gradient_rows(const T* x, const T* grad, const P* weight, T* out, long long rows, int n,
                           float eps) {
  const auto d = static_cast<float>(n);
  for (long long r = blockIdx.x; r < rows; r += gridDim.x) {
    Row<T> row(x + r * n, n);
    float squares = 0;
    float products = 0;
    row.each(
        [&](float& v, float g, float w) {
          squares += v * v;
          products += (weight ? g * w : g) * v;
        },
        grad + r * n, weight);
    const float inverse = 1 / sqrtf(block_sum(squares) / d + eps);
    const float along = block_sum(products) / d * inverse * inverse;
    row.write(
        out + r * n, [&](float v, float g, float w) { return inverse * ((weight ? g * w : g) - v * along); },
        grad + r * n, weight);
  }
}

/// Rows are held in registers where they fit. Weight and bias have x's dtype, or are f32.
template <bool centered>
class NormKernel final : public Kernel {
 public:
  explicit NormKernel(const KernelRequest& request)
      : dtype_(request.output.dtype),
        n_(request.output.shape().dim(-1)),
        rows_(n_ > 0 ? request.output.shape().elements() / n_ : 0),
        parameters_(request.inputs.size() - 1),
        parameter_dtype_(parameters_ > 0 ? request.inputs[1].dtype : dtype_),
        eps_(static_cast<float>(request.attrs.as<NormAttrs>().eps)) {}

  void run(const void* const* inputs, void* output, void* /*scratch*/) const override {
    if (rows_ == 0) return;
    visit_narrow(dtype_, [&]<typename T>() {
      if (parameter_dtype_ == dtype_)
        launch<T, T>(inputs, output);
      else
        launch<T, float>(inputs, output);
    });
    check_launch("norm_rows");
  }

 private:
  template <typename T, typename P>
  void launch(const void* const* inputs, void* output) const {
    bool aligned = is_aligned_16(output);
    for (std::size_t i = 0; i <= parameters_; ++i) aligned = aligned && is_aligned_16(inputs[i]);
    const RowLaunch shape = RowLaunch::of<T>(rows_, n_, aligned);
    const auto* x = static_cast<const T*>(inputs[0]);
    const auto* weight = parameters_ > 0 ? static_cast<const P*>(inputs[1]) : nullptr;
    const auto* bias = parameters_ > 1 ? static_cast<const P*>(inputs[2]) : nullptr;
    auto* out = static_cast<T*>(output);
    const auto n = static_cast<int>(n_);
    const cudaStream_t stream = current_launch().stream;
    if constexpr (centered) {
      const auto kernel =
          shape.in_registers ? layer_norm_rows<T, P, RegisterRow> : layer_norm_rows<T, P, MemoryRow>;
      kernel<<<shape.blocks, shape.threads, 0, stream>>>(x, weight, bias, out, rows_, n, eps_);
    } else {
      const auto kernel =
          shape.in_registers ? rms_norm_rows<T, P, RegisterRow> : rms_norm_rows<T, P, MemoryRow>;
      kernel<<<shape.blocks, shape.threads, 0, stream>>>(x, weight, out, rows_, n, eps_);
    }
  }

  DType dtype_;
  std::int64_t n_;
  std::int64_t rows_;
  std::size_t parameters_;
  DType parameter_dtype_;
  float eps_;
};

/// Inputs are x, the gradient of the result, and the weight, if there is one.
class RmsNormGradientKernel final : public Kernel {
 public:
  explicit RmsNormGradientKernel(const KernelRequest& request)
      : dtype_(request.output.dtype),
        n_(request.output.shape().dim(-1)),
        rows_(n_ > 0 ? request.output.shape().elements() / n_ : 0),
        has_weight_(request.inputs.size() > 2),
        weight_dtype_(has_weight_ ? request.inputs[2].dtype : dtype_),
        eps_(static_cast<float>(request.attrs.as<NormAttrs>().eps)) {}

  void run(const void* const* inputs, void* output, void* /*scratch*/) const override {
    if (rows_ == 0) return;
    visit_narrow(dtype_, [&]<typename T>() {
      if (weight_dtype_ == dtype_)
        launch<T, T>(inputs, output);
      else
        launch<T, float>(inputs, output);
    });
    check_launch("rms_norm_gradient_rows");
  }

 private:
  template <typename T, typename P>
  void launch(const void* const* inputs, void* output) const {
    const bool aligned = is_aligned_16(inputs[0]) && is_aligned_16(inputs[1]) && is_aligned_16(output) &&
                         (!has_weight_ || is_aligned_16(inputs[2]));
    const RowLaunch shape = RowLaunch::of<T>(rows_, n_, aligned);
    const auto kernel = shape.in_registers ? rms_norm_gradient_rows<T, P, RegisterRow>
                                           : rms_norm_gradient_rows<T, P, MemoryRow>;
    kernel<<<shape.blocks, shape.threads, 0, current_launch().stream>>>(
        static_cast<const T*>(inputs[0]), static_cast<const T*>(inputs[1]),
        has_weight_ ? static_cast<const P*>(inputs[2]) : nullptr, static_cast<T*>(output), rows_,
        static_cast<int>(n_), eps_);
  }

  DType dtype_;
  std::int64_t n_;
  std::int64_t rows_;
  bool has_weight_;
  DType weight_dtype_;
  float eps_;
};

bool supports_gradient(const KernelRequest& request) {
  const DType x = request.inputs[0].dtype;
  if (x == DType::f64 || request.output.shape().dim(-1) > Limits<int>::high) return false;
  return request.inputs.size() < 3 || request.inputs[2].dtype == x || request.inputs[2].dtype == DType::f32;
}

bool supports(const KernelRequest& request) {
  const DType x = request.inputs[0].dtype;
  if (x == DType::f64 || request.output.shape().dim(-1) > Limits<int>::high) return false;
  const auto parameters = request.inputs.subspan(1);
  return std::all_of(parameters.begin(), parameters.end(), [&](const Slot& slot) {
    return slot.dtype == parameters[0].dtype && (slot.dtype == x || slot.dtype == DType::f32);
  });
}

template <bool centered>
std::unique_ptr<Kernel> prepare(const KernelRequest& request) {
  return std::make_unique<NormKernel<centered>>(request);
}

constexpr KernelEntry entries[] = {
    {.op = "rms_norm", .prepare = prepare<false>, .in_place = true, .supports = supports},
    {.op = "rms_norm_gradient",
     .prepare = [](const KernelRequest& request) -> std::unique_ptr<Kernel> {
       return std::make_unique<RmsNormGradientKernel>(request);
     },
     .in_place = true,
     .supports = supports_gradient},
    {.op = "layer_norm", .prepare = prepare<true>, .in_place = true, .supports = supports},
};

}  // namespace

kernels::Entries kernels::norm() { return entries; }

}  // namespace wick::cuda
