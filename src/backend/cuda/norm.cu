#include <algorithm>
#include <string_view>

#include "backend/cuda/columns.cuh"
#include "backend/cuda/device/launch_order.cuh"
#include "backend/cuda/dispatch.cuh"
#include "backend/cuda/kernels.h"
#include "backend/cuda/launch.h"
#include "backend/cuda/launch_kernel.h"
#include "ops/attributes.h"
#include "ops/norm_gradient.h"

namespace wick::cuda {
namespace {

/// What is normalized: rows of x, or of x + y, which go to `sum`, where y is not null.
template <typename T>
struct Terms {
  const T* x;
  const T* y;
  T* sum;
};

template <typename Columns, typename T>
__device__ __forceinline__ auto row_of(const Columns& columns, const Terms<T>& terms, long long at) {
  auto x = columns.of(terms.x + at);
  return terms.y ? columns.sum(x, columns.of(terms.y + at), terms.sum + at) : x;
}

template <typename T, typename P, typename Columns>
__global__ void __launch_bounds__(most_row_threads)
    rms_norm_rows(const Terms<T> terms, const P* weight, T* out, long long rows, int n, float eps) {
  begin_in_order();
  const Columns columns(n);
  const auto weights = columns.parameter(weight);
  for (long long r = blockIdx.x; r < rows; r += gridDim.x) {
    const auto row = row_of(columns, terms, r * n);
    float squares = 0;
    columns.each([&](float v) { squares += v * v; }, row);
    const float scale = 1 / sqrtf(block_sum(squares) / static_cast<float>(n) + eps);
    columns.write(
        out + r * n,
        [&](float v, float w) {
          const float normalized = v * scale;
          return weight ? rounded<T>(normalized) * w : normalized;
        },
        row, weights);
  }
}

/// What layer norm takes off a row, and what it multiplies the rest by.
struct Standardization {
  float mean;
  float scale;
};

template <typename Columns, typename Row>
__device__ Standardization standardization_of(const Columns& columns, const Row& row, float d, float eps) {
  float sum = 0;
  columns.each([&](float v) { sum += v; }, row);
  const float first_mean = block_sum(sum) / d;
  // The second sum also finds what rounding left out of the first mean: a row of nearly equal numbers needs
  // it.
  Sums sums = {0, 0};
  columns.each(
      [&](float v) {
        const float centered = v - first_mean;
        sums.first += centered;
        sums.second += centered * centered;
      },
      row);
  sums = block_sum(sums);
  const float left = sums.first / d;
  const float variance = fmaxf(0.0f, sums.second / d - left * left);
  return {first_mean + left, 1 / sqrtf(variance + eps)};
}

template <typename T, typename P, typename Columns>
__global__ void __launch_bounds__(most_row_threads)
    layer_norm_rows(const Terms<T> terms, const P* weight, const P* bias, T* out, long long rows, int n,
                    float eps) {
  begin_in_order();
  const Columns columns(n);
  for (long long r = blockIdx.x; r < rows; r += gridDim.x) {
    const auto row = row_of(columns, terms, r * n);
    const Standardization by = standardization_of(columns, row, static_cast<float>(n), eps);
    columns.write(
        out + r * n,
        [&](float v, float w, float b) {
          float y = (v - by.mean) * by.scale;
          if (weight) y *= w;
          return bias ? y + b : y;
        },
        row, weight, bias);  // read now: held from the start, both would spill registers
  }
}

/// Rows of what was normalized, of the gradients of the result, which are summed up, and of what is added to
/// the gradient; null where there are fewer. At most so many gradients: each takes registers.
template <typename T, int most>
struct GradientTerms {
  const T* x;
  const T* grads[most];
  const T* added;

  __device__ static const T* from(const T* rows, long long at) { return rows ? rows + at : nullptr; }
  __device__ const T* grad(int i, long long at) const { return i < most ? from(grads[i], at) : nullptr; }

  // The same f32 sums as in steps of their own: not contracted with products.
  __device__ float plus(float gradient, float number) const {
    return added ? __fadd_rn(gradient, number) : gradient;
  }
  /// The gradient of what was normalized: those of the result, times the weight.
  __device__ float inner(float first, float second, float third, const void* weight, float w) const {
    if (most > 1 && grads[1]) first = __fadd_rn(first, second);
    if (most > 2 && grads[2]) first = __fadd_rn(first, third);
    return weight ? first * w : first;
  }
};

/// The rows of all terms that begin at this place, asked for at once.
template <typename Row>
struct GradientRows {
  Row x, g1, g2, g3, added;
};
template <typename Columns, typename T, int most>
__device__ __forceinline__ auto rows_of(const Columns& columns, const GradientTerms<T, most>& terms,
                                        long long at) {
  return GradientRows{columns.of(terms.x + at), columns.of(terms.grad(0, at)), columns.of(terms.grad(1, at)),
                      columns.of(terms.grad(2, at)), columns.of(terms.from(terms.added, at))};
}

/// The weight, read with the rows; with more gradients than one those take its registers, and it is read when
/// it is needed.
template <int most, typename Columns, typename P>
__device__ __forceinline__ auto weight_of(const Columns& columns, const P* weight) {
  if constexpr (most > 1)
    return weight;
  else
    return columns.of(weight);
}

/// The gradient of rms_norm with respect to x: inverse (g w - normalized mean(g w normalized)).
template <typename T, typename P, typename Columns, int most>
__global__ void __launch_bounds__(most_row_threads)
    rms_norm_gradient_rows(const GradientTerms<T, most> terms, const P* weight, T* out, long long rows, int n,
                           float eps) {
  begin_in_order();
  const auto d = static_cast<float>(n);
  const Columns columns(n);
  const auto w = weight_of<most>(columns, weight);
  for (long long r = blockIdx.x; r < rows; r += gridDim.x) {
    const long long at = r * n;
    const auto [x, g1, g2, g3, added] = rows_of(columns, terms, at);
    Sums sums = {0, 0};
    columns.each(
        [&](float v, float a, float b, float c, float by) {
          sums.first += v * v;
          sums.second += terms.inner(a, b, c, weight, by) * v;
        },
        x, g1, g2, g3, w);
    sums = block_sum(sums);
    const float inverse = 1 / sqrtf(sums.first / d + eps);
    const float along = sums.second / d * inverse * inverse;
    columns.write(
        out + at,
        [&](float v, float a, float b, float c, float by, float more) {
          return terms.plus(inverse * (terms.inner(a, b, c, weight, by) - v * along), more);
        },
        x, g1, g2, g3, w, added);
  }
}

/// The same of layer_norm: scale (g w - mean(g w) - c scale mean(g w c scale)), with c = x - mean(x).
template <typename T, typename P, typename Columns, int most>
__global__ void __launch_bounds__(most_row_threads)
    layer_norm_gradient_rows(const GradientTerms<T, most> terms, const P* weight, T* out, long long rows,
                             int n, float eps) {
  begin_in_order();
  const auto d = static_cast<float>(n);
  const Columns columns(n);
  const auto w = weight_of<most>(columns, weight);
  for (long long r = blockIdx.x; r < rows; r += gridDim.x) {
    const long long at = r * n;
    const auto [x, g1, g2, g3, added] = rows_of(columns, terms, at);
    const Standardization of_x = standardization_of(columns, x, d, eps);
    Sums sums = {0, 0};
    columns.each(
        [&](float v, float a, float b, float c, float by) {
          const float inner = terms.inner(a, b, c, weight, by);
          sums.first += inner;
          sums.second += inner * (v - of_x.mean);
        },
        x, g1, g2, g3, w);
    sums = block_sum(sums);
    const float mean_inner = sums.first / d;
    const float along = sums.second / d * of_x.scale * of_x.scale;
    columns.write(
        out + at,
        [&](float v, float a, float b, float c, float by, float more) {
          const float inner = terms.inner(a, b, c, weight, by) - mean_inner;
          return terms.plus(of_x.scale * (inner - (v - of_x.mean) * along), more);
        },
        x, g1, g2, g3, w, added);
  }
}

/// Columns of norms, and of their gradients: fewer a thread, as several rows are on their way at once.
template <typename T>
using NormColumns = HeldColumns<T, 4>;
template <typename T>
using GradientColumns = HeldColumns<T, 2>;

/// What all kernels of norms know: rows of `terms` inputs of one shape, held in registers where they fit, and
/// behind them the parameters, which have the rows' dtype, or are f32.
class RowsKernel : public Kernel {
 public:
  RowsKernel(const KernelRequest& request, std::size_t terms, double eps)
      : dtype_(request.output.dtype),
        n_(request.output.shape().dim(-1)),
        rows_(n_ > 0 ? request.output.shape().elements() / n_ : 0),
        terms_(terms),
        results_(request.op.results),
        parameters_(request.inputs.size() - terms),
        parameter_dtype_(parameters_ > 0 ? request.inputs[terms].dtype : dtype_),
        eps_(static_cast<float>(eps)) {}

 protected:
  /// Calls f<T, P>(), where there are rows, for elements and parameters of types T and P.
  template <typename F>
  void visit(const F& f) const {
    if (rows_ == 0) return;
    visit_narrow(dtype_, [&]<typename T>() {
      if (parameter_dtype_ == dtype_)
        f.template operator()<T, T>();
      else
        f.template operator()<T, float>();
    });
  }
  template <typename Row>
  RowLaunch shape_of(const void* const* inputs, const void* const* outputs) const {
    return RowLaunch::of<Row>(rows_, n_,
                              std::all_of(inputs, inputs + terms_ + parameters_, is_aligned_16) &&
                                  std::all_of(outputs, outputs + results_, is_aligned_16));
  }
  /// Parameter i, or null.
  template <typename P>
  const P* parameter(const void* const* inputs, std::size_t i) const {
    return i < parameters_ ? static_cast<const P*>(inputs[terms_ + i]) : nullptr;
  }
  template <typename Kernel, typename... Arguments>
  void launch_rows(Kernel kernel, const RowLaunch& shape, const char* name,
                   const Arguments&... arguments) const {
    launch_kernel(kernel, {shape.blocks, shape.threads}, current_launch().stream, name, arguments..., rows_,
                  static_cast<int>(n_), eps_);
  }

  DType dtype_;
  std::int64_t n_;
  std::int64_t rows_;
  std::size_t terms_;
  std::size_t results_;
  std::size_t parameters_;
  DType parameter_dtype_;
  float eps_;
};

/// Inputs are x, what is added to it, if that is what the op does, and weight and bias.
template <bool centered>
class NormKernel final : public RowsKernel {
 public:
  explicit NormKernel(const KernelRequest& request)
      : RowsKernel(request, request.op.results, request.attrs.as<NormAttrs>().eps) {}

  void run(const void* const* inputs, void* output, void* scratch) const override {
    void* const outputs[2] = {output, nullptr};
    run_results(inputs, outputs, scratch);
  }
  void run_results(const void* const* inputs, void* const* outputs, void* /*scratch*/) const override {
    visit([&]<typename T, typename P>() {
      const RowLaunch shape = shape_of<NormColumns<T>>(inputs, outputs);
      Terms<T> terms{static_cast<const T*>(inputs[0]), nullptr, nullptr};
      if (terms_ > 1) {
        terms.y = static_cast<const T*>(inputs[1]);
        terms.sum = static_cast<T*>(outputs[1]);
      }
      const P* const weight = parameter<P>(inputs, 0);
      auto* const out = static_cast<T*>(outputs[0]);
      if constexpr (centered)
        launch_rows(shape.in_registers ? layer_norm_rows<T, P, NormColumns<T>>
                                       : layer_norm_rows<T, P, MemoryColumns<T>>,
                    shape, "norm_rows", terms, weight, parameter<P>(inputs, 1), out);
      else
        launch_rows(
            shape.in_registers ? rms_norm_rows<T, P, NormColumns<T>> : rms_norm_rows<T, P, MemoryColumns<T>>,
            shape, "norm_rows", terms, weight, out);
    });
  }
};

/// Inputs as NormGradientAttrs says.
template <bool centered>
class NormGradientKernel final : public RowsKernel {
 public:
  explicit NormGradientKernel(const KernelRequest& request)
      : NormGradientKernel(request, request.attrs.as<NormGradientAttrs>()) {}

  void run(const void* const* inputs, void* output, void* /*scratch*/) const override {
    visit([&]<typename T, typename P>() {
      if (gradients_ == 1)
        launch<T, P, 1>(inputs, output);
      else
        launch<T, P, most_norm_gradients>(inputs, output);
    });
  }

 private:
  NormGradientKernel(const KernelRequest& request, const NormGradientAttrs& attrs)
      : RowsKernel(request, attrs.terms(), attrs.eps), gradients_(attrs.gradients), adds_(attrs.adds != 0) {}

  template <typename T, typename P, int most>
  void launch(const void* const* inputs, void* output) const {
    using Held = GradientColumns<T>;
    using Memory = MemoryColumns<T>;
    const RowLaunch shape = shape_of<Held>(inputs, &output);
    GradientTerms<T, most> terms{static_cast<const T*>(inputs[0]), {}, nullptr};
    for (std::int64_t i = 0; i < gradients_; ++i) terms.grads[i] = static_cast<const T*>(inputs[1 + i]);
    if (adds_) terms.added = static_cast<const T*>(inputs[1 + gradients_]);
    const auto in_registers =
        centered ? layer_norm_gradient_rows<T, P, Held, most> : rms_norm_gradient_rows<T, P, Held, most>;
    const auto from_memory =
        centered ? layer_norm_gradient_rows<T, P, Memory, most> : rms_norm_gradient_rows<T, P, Memory, most>;
    launch_rows(shape.in_registers ? in_registers : from_memory, shape, "norm_gradient_rows", terms,
                parameter<P>(inputs, 0), static_cast<T*>(output));
  }

  std::int64_t gradients_;
  bool adds_;
};

/// Whether kernels take `terms` rows and the parameters behind them.
bool takes_rows(const KernelRequest& request, std::size_t terms) {
  const DType x = request.inputs[0].dtype;
  if (x == DType::f64 || request.output.shape().dim(-1) > Limits<int>::high) return false;
  const auto parameters = request.inputs.subspan(terms);
  return std::all_of(parameters.begin(), parameters.end(), [&](const Slot& slot) {
    return slot.dtype == parameters[0].dtype && (slot.dtype == x || slot.dtype == DType::f32);
  });
}

bool supports(const KernelRequest& request) { return takes_rows(request, request.op.results); }

/// In place, a parameter must not be taken for a row.
bool supports_sum(const KernelRequest& request) {
  return supports(request) && request.output.shape().elements() > request.output.shape().dim(-1);
}

bool supports_gradient(const KernelRequest& request) {
  const auto attrs = request.attrs.as<NormGradientAttrs>();
  return attrs.gradients <= most_norm_gradients && takes_rows(request, attrs.terms());
}

template <typename K>
constexpr KernelEntry entry(std::string_view op, bool (*takes)(const KernelRequest&)) {
  return {.op = op,
          .prepare = [](const KernelRequest& request) -> std::unique_ptr<Kernel> {
            return std::make_unique<K>(request);
          },
          .in_place = true,
          .supports = takes};
}

constexpr KernelEntry entries[] = {
    entry<NormKernel<false>>("rms_norm", supports),
    entry<NormKernel<true>>("layer_norm", supports),
    entry<NormKernel<false>>("add_rms_norm", supports_sum),
    entry<NormKernel<true>>("add_layer_norm", supports_sum),
    entry<NormGradientKernel<false>>("rms_norm_gradient", supports_gradient),
    entry<NormGradientKernel<true>>("layer_norm_gradient", supports_gradient),
};

}  // namespace

kernels::Entries kernels::norm() { return entries; }

}  // namespace wick::cuda
