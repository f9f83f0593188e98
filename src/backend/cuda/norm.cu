#include <algorithm>
#include <array>
#include <vector>

#include "backend/cuda/device/launch_order.cuh"
#include "backend/cuda/dispatch.cuh"
#include "backend/cuda/kernels.h"
#include "backend/cuda/launch.h"
#include "backend/cuda/launch_kernel.h"
#include "backend/cuda/rows.cuh"
#include "ops/attributes.h"

namespace wick::cuda {
namespace {

/// What is normalized: rows of x, or of x + y, which go to `sum`, where y is not null.
template <typename T>
struct Terms {
  const T* x;
  const T* y;
  T* sum;
};

template <template <typename> typename Row, typename T>
__device__ __forceinline__ Row<T> row_of(const Terms<T>& terms, long long at, int n) {
  Row<T> row(terms.x + at, n);
  if (terms.y) row.add(terms.y + at, terms.sum + at);
  return row;
}

template <typename T, typename P, template <typename> typename Row>
__global__ void __launch_bounds__(most_row_threads)
    rms_norm_rows(const Terms<T> terms, const P* weight, T* out, long long rows, int n, float eps) {
  begin_in_order();
  for (long long r = blockIdx.x; r < rows; r += gridDim.x) {
    Row<T> row = row_of<Row>(terms, r * n, n);
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
    layer_norm_rows(const Terms<T> terms, const P* weight, const P* bias, T* out, long long rows, int n,
                    float eps) {
  begin_in_order();
  const auto d = static_cast<float>(n);
  for (long long r = blockIdx.x; r < rows; r += gridDim.x) {
    Row<T> row = row_of<Row>(terms, r * n, n);
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
  begin_in_order();
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

/// Rows are held in registers where they fit. Inputs are x, what is added to it, if that is what the op does,
/// and weight and bias, which have x's dtype, or are f32.
template <bool centered>
class NormKernel final : public Kernel {
 public:
  explicit NormKernel(const KernelRequest& request)
      : dtype_(request.output.dtype),
        n_(request.output.shape().dim(-1)),
        rows_(n_ > 0 ? request.output.shape().elements() / n_ : 0),
        terms_(request.op.results),
        parameters_(request.inputs.size() - terms_),
        parameter_dtype_(parameters_ > 0 ? request.inputs[terms_].dtype : dtype_),
        eps_(static_cast<float>(request.attrs.as<NormAttrs>().eps)) {}

  void run(const void* const* inputs, void* output, void* scratch) const override {
    void* const outputs[2] = {output, nullptr};
    run_results(inputs, outputs, scratch);
  }
  void run_results(const void* const* inputs, void* const* outputs, void* /*scratch*/) const override {
    if (rows_ == 0) return;
    visit_narrow(dtype_, [&]<typename T>() {
      if (parameter_dtype_ == dtype_)
        launch<T, T>(inputs, outputs);
      else
        launch<T, float>(inputs, outputs);
    });
  }

 private:
  template <typename T, typename P>
  void launch(const void* const* inputs, void* const* outputs) const {
    const bool aligned = std::all_of(inputs, inputs + terms_ + parameters_, is_aligned_16) &&
                         std::all_of(outputs, outputs + terms_, is_aligned_16);
    const RowLaunch shape = RowLaunch::of<T>(rows_, n_, aligned);
    Terms<T> terms{static_cast<const T*>(inputs[0]), nullptr, nullptr};
    if (terms_ > 1) {
      terms.y = static_cast<const T*>(inputs[1]);
      terms.sum = static_cast<T*>(outputs[1]);
    }
    const auto* weight = parameters_ > 0 ? static_cast<const P*>(inputs[terms_]) : nullptr;
    const auto* bias = parameters_ > 1 ? static_cast<const P*>(inputs[terms_ + 1]) : nullptr;
    auto* out = static_cast<T*>(outputs[0]);
    const auto n = static_cast<int>(n_);
    const cudaStream_t stream = current_launch().stream;
    if constexpr (centered) {
      const auto kernel =
          shape.in_registers ? layer_norm_rows<T, P, RegisterRow> : layer_norm_rows<T, P, MemoryRow>;
      launch_kernel(kernel, {shape.blocks, shape.threads}, stream, "norm_rows", terms, weight, bias, out,
                    rows_, n, eps_);
    } else {
      const auto kernel =
          shape.in_registers ? rms_norm_rows<T, P, RegisterRow> : rms_norm_rows<T, P, MemoryRow>;
      launch_kernel(kernel, {shape.blocks, shape.threads}, stream, "norm_rows", terms, weight, out, rows_, n,
                    eps_);
    }
  }

  DType dtype_;
  std::int64_t n_;
  std::int64_t rows_;
  std::size_t terms_;  // inputs that are summed, and results
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
  }

 private:
  template <typename T, typename P>
  void launch(const void* const* inputs, void* output) const {
    const bool aligned = is_aligned_16(inputs[0]) && is_aligned_16(inputs[1]) && is_aligned_16(output) &&
                         (!has_weight_ || is_aligned_16(inputs[2]));
    const RowLaunch shape = RowLaunch::of<T>(rows_, n_, aligned);
    const auto kernel = shape.in_registers ? rms_norm_gradient_rows<T, P, RegisterRow>
                                           : rms_norm_gradient_rows<T, P, MemoryRow>;
    launch_kernel(kernel, {shape.blocks, shape.threads}, current_launch().stream, "rms_norm_gradient_rows",
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
  const auto parameters = request.inputs.subspan(request.op.results);
  return std::all_of(parameters.begin(), parameters.end(), [&](const Slot& slot) {
    return slot.dtype == parameters[0].dtype && (slot.dtype == x || slot.dtype == DType::f32);
  });
}

/// In place, a parameter must not be taken for a row.
bool supports_sum(const KernelRequest& request) {
  return supports(request) && request.output.shape().elements() > request.output.shape().dim(-1);
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
    {.op = "add_rms_norm", .prepare = prepare<false>, .in_place = true, .supports = supports_sum},
    {.op = "add_layer_norm", .prepare = prepare<true>, .in_place = true, .supports = supports_sum},
};

}  // namespace

kernels::Entries kernels::norm() { return entries; }

}  // namespace wick::cuda
