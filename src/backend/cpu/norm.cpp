#include <algorithm>
#include <cmath>
#include <vector>

#include "backend/cpu/float_convert.h"
#include "backend/cpu/highway_targets.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/norm_rows.h"
#include "backend/cpu/row_parallel.h"
#include "ops/attributes.h"
#include "ops/norm_gradient.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/norm.cpp"
#include <hwy/foreach_target.h>

#include "backend/cpu/float_io-inl.h"

HWY_BEFORE_NAMESPACE();
namespace wick::HWY_NAMESPACE {

double inverse_root(double mean_of_squares, double eps) { return 1 / std::sqrt(mean_of_squares + eps); }

template <typename T>
void rms_norm_row(const T* x, T* out, const NormRows& job) {
  const float squares = sum_over_row(x, job.d, 0.0f, [](FloatVec v) HWY_ATTR { return hn::Mul(v, v); });
  const double mean = static_cast<double>(squares) / static_cast<double>(job.d);
  const FloatVec scale = hn::Set(f32_tag, static_cast<float>(inverse_root(mean, job.eps)));
  map_row(x, out, job.d, [&](FloatVec v, std::int64_t i, std::int64_t n) HWY_ATTR {
    const FloatVec normalized = hn::Mul(v, scale);
    return job.weight ? hn::Mul(rounded_to<T>(normalized), load_some(job.weight + i, n)) : normalized;
  });
}

/// Two sums over a row: of its distances to a number and of their squares, or of two products.
struct TwoSums {
  FloatVec first = hn::Zero(f32_tag);
  FloatVec second = hn::Zero(f32_tag);

  HWY_INLINE static TwoSums joined(const TwoSums& a, const TwoSums& b) {
    return {hn::Add(a.first, b.first), hn::Add(a.second, b.second)};
  }
};

/// What layer norm takes off a row, and what it multiplies the rest by.
struct Standardization {
  float mean;
  double scale;
};

template <typename T>
Standardization standardization_of(const T* x, const NormRows& job) {
  const auto d = static_cast<float>(job.d);
  // The second sum also finds what rounding left out of the first mean: a row of nearly equal numbers needs
  // it. The first is an element, which the last vector of a row can be filled up with.
  const float total = sum_over_row(x, job.d, 0.0f, [](FloatVec v) HWY_ATTR { return v; });
  const auto first_mean = static_cast<float>(T(total / d));
  const FloatVec about = hn::Set(f32_tag, first_mean);
  const TwoSums sums = fold_row(
      x, job.d, first_mean, TwoSums{},
      [&](const TwoSums& sum, FloatVec v) HWY_ATTR {
        const FloatVec centered = hn::Sub(v, about);
        return TwoSums{hn::Add(sum.first, centered), hn::MulAdd(centered, centered, sum.second)};
      },
      TwoSums::joined);
  const float left = sum_of(sums.first) / d;
  const float squares = sum_of(sums.second);
  const double variance = std::max(
      0.0, static_cast<double>(squares) / static_cast<double>(job.d) - static_cast<double>(left) * left);
  return {first_mean + left, inverse_root(variance, job.eps)};
}

template <typename T>
void layer_norm_row(const T* x, T* out, const NormRows& job) {
  const Standardization by = standardization_of(x, job);
  const FloatVec mean = hn::Set(f32_tag, by.mean);
  const FloatVec scale = hn::Set(f32_tag, static_cast<float>(by.scale));
  map_row(x, out, job.d, [&](FloatVec v, std::int64_t i, std::int64_t n) HWY_ATTR {
    FloatVec y = hn::Mul(hn::Sub(v, mean), scale);
    if (job.weight) y = hn::Mul(y, load_some(job.weight + i, n));
    if (job.bias) y = hn::Add(y, load_some(job.bias + i, n));
    return y;
  });
}

/// A row of a norm's gradient.
template <typename T>
struct GradientRow {
  GradientRow(const NormRows& job, std::int64_t at)
      : x(static_cast<const T*>(job.x) + at),
        grad(static_cast<const T*>(job.y) + at),
        second(row_at(job.gradient.more[0], at)),
        third(row_at(job.gradient.more[1], at)),
        added(row_at(job.gradient.added, at)) {}

  static const T* row_at(const void* rows, std::int64_t at) {
    return rows ? static_cast<const T*>(rows) + at : nullptr;
  }

  /// The gradient of what was normalized: those of the result, times the weight.
  HWY_INLINE FloatVec inner(const NormRows& job, std::int64_t i, std::int64_t n) const {
    FloatVec g = load_some(grad + i, n);
    if (second) g = hn::Add(g, load_some(second + i, n));
    if (third) g = hn::Add(g, load_some(third + i, n));
    return job.weight ? hn::Mul(g, load_some(job.weight + i, n)) : g;
  }
  HWY_INLINE FloatVec with_added(FloatVec gradient, std::int64_t i, std::int64_t n) const {
    return added ? hn::Add(gradient, load_some(added + i, n)) : gradient;
  }

  const T* x;
  const T* grad;
  const T* second;
  const T* third;
  const T* added;
};

/// inverse (inner - x inverse mean(inner x inverse)), with inverse = 1 / sqrt(mean(x^2) + eps).
template <typename T>
void rms_norm_gradient_row(const GradientRow<T>& row, T* out, const NormRows& job) {
  const TwoSums sums = fold(
      job.d, TwoSums{},
      [&](const TwoSums& sum, std::int64_t i, std::int64_t n) HWY_ATTR {
        const FloatVec v = load_some(row.x + i, n);
        return TwoSums{hn::MulAdd(v, v, sum.first), hn::MulAdd(row.inner(job, i, n), v, sum.second)};
      },
      TwoSums::joined);
  const auto d = static_cast<double>(job.d);
  const double inverse = inverse_root(static_cast<double>(sum_of(sums.first)) / d, job.eps);
  const double along = static_cast<double>(sum_of(sums.second)) / d * inverse * inverse;
  const FloatVec scale = hn::Set(f32_tag, static_cast<float>(inverse));
  const FloatVec share = hn::Set(f32_tag, static_cast<float>(along));
  map_row(row.x, out, job.d, [&](FloatVec v, std::int64_t i, std::int64_t n) HWY_ATTR {
    return row.with_added(hn::Mul(scale, hn::NegMulAdd(v, share, row.inner(job, i, n))), i, n);
  });
}

/// scale (inner - mean(inner) - c scale mean(inner c scale)), with c = x - mean(x).
template <typename T>
void layer_norm_gradient_row(const GradientRow<T>& row, T* out, const NormRows& job) {
  const Standardization by = standardization_of(row.x, job);
  const FloatVec mean = hn::Set(f32_tag, by.mean);
  const TwoSums sums = fold(
      job.d, TwoSums{},
      [&](const TwoSums& sum, std::int64_t i, std::int64_t n) HWY_ATTR {
        const FloatVec inner = row.inner(job, i, n);
        const FloatVec centered = hn::Sub(load_some(row.x + i, n), mean);
        return TwoSums{hn::Add(sum.first, inner), hn::MulAdd(inner, centered, sum.second)};
      },
      TwoSums::joined);
  const auto d = static_cast<double>(job.d);
  const double along = static_cast<double>(sum_of(sums.second)) / d * by.scale * by.scale;
  const FloatVec scale = hn::Set(f32_tag, static_cast<float>(by.scale));
  const FloatVec share = hn::Set(f32_tag, static_cast<float>(along));
  const FloatVec mean_gradient = hn::Set(f32_tag, static_cast<float>(sum_of(sums.first) / d));
  map_row(row.x, out, job.d, [&](FloatVec v, std::int64_t i, std::int64_t n) HWY_ATTR {
    const FloatVec inner = hn::Sub(row.inner(job, i, n), mean_gradient);
    return row.with_added(hn::Mul(scale, hn::NegMulAdd(hn::Sub(v, mean), share, inner)), i, n);
  });
}

template <typename T>
void norm_rows(const NormRows& job, NormOf of) {
  for (std::int64_t at = 0; at < job.rows * job.d; at += job.d) {
    const T* x = static_cast<const T*>(job.x) + at;
    const T* const y = job.y ? static_cast<const T*>(job.y) + at : nullptr;
    T* const out = static_cast<T*>(job.out) + at;
    if (at + job.d < job.rows * job.d) prefetch_row(x + job.d, job.d);
    if (of == NormOf::rms_gradient) {
      rms_norm_gradient_row(GradientRow<T>(job, at), out, job);
      continue;
    }
    if (of == NormOf::layer_gradient) {
      layer_norm_gradient_row(GradientRow<T>(job, at), out, job);
      continue;
    }
    if (y) {
      T* const sum = static_cast<T*>(job.sum) + at;
      map_row(x, sum, job.d, [&](FloatVec v, std::int64_t i, std::int64_t n) HWY_ATTR {
        return hn::Add(v, load_some(y + i, n));
      });
      x = sum;
    }
    if (of == NormOf::layer)
      layer_norm_row(x, out, job);
    else
      rms_norm_row(x, out, job);
  }
}

void RunNormRows(const NormRows& job, NormOf of) {
  if (job.dtype == DType::bf16)
    norm_rows<bfloat16>(job, of);
  else if (job.dtype == DType::f16)
    norm_rows<float16>(job, of);
  else
    norm_rows<float>(job, of);
}

}  // namespace wick::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wick {

HWY_EXPORT(RunNormRows);

void run_norm_rows(const NormRows& job, NormOf of) { HWY_DYNAMIC_DISPATCH(RunNormRows)(job, of); }

namespace {

/// How many rows of each kind come ahead of the parameters.
struct RowInputs {
  static RowInputs of_norm(const KernelRequest& request) {
    return {.beside = request.op.results - 1, .more = 0, .added = 0};
  }
  static RowInputs of_gradient(const KernelRequest& request) {
    const auto attrs = request.attrs.as<NormGradientAttrs>();
    return {.beside = 1,
            .more = static_cast<std::size_t>(attrs.gradients) - 1,
            .added = static_cast<std::size_t>(attrs.adds)};
  }
  std::size_t count() const { return 1 + beside + more + added; }

  std::size_t beside;  // what is added to x, or the first gradient
  std::size_t more;    // gradients
  std::size_t added;   // to the gradient
};

class NormKernel final : public Kernel {
 public:
  NormKernel(const KernelRequest& request, NormOf of, double eps, const RowInputs& rows)
      : d_(request.output.shape().dim(-1)),
        rows_(d_ > 0 ? request.output.shape().elements() / d_ : 0),
        dtype_(request.output.dtype),
        eps_(eps),
        of_(of),
        row_inputs_(rows),
        sums_(request.op.results > 1) {
    for (const Slot& parameter : request.inputs.subspan(rows.count())) parameters_.push_back(parameter.dtype);
  }

  std::size_t scratch_bytes() const override {
    return parameters_.size() * static_cast<std::size_t>(d_) * sizeof(float);
  }

  void run(const void* const* inputs, void* output, void* scratch) const override {
    void* const outputs[2] = {output, nullptr};
    run_results(inputs, outputs, scratch);
  }

  void run_results(const void* const* inputs, void* const* outputs, void* scratch) const override {
    const float* parameters[2] = {nullptr, nullptr};
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      if (parameters_[i] == DType::f32) {
        parameters[i] = static_cast<const float*>(inputs[row_inputs_.count() + i]);
      } else {
        float* wide = static_cast<float*>(scratch) + static_cast<std::int64_t>(i) * d_;
        widen_row(parameters_[i], inputs[row_inputs_.count() + i], wide, d_);
        parameters[i] = wide;
      }
    }
    const auto row_bytes = d_ * static_cast<std::int64_t>(size_of(dtype_));
    parallel_rows(rows_, d_, [&](std::int64_t begin, std::int64_t end) {
      const std::int64_t at = begin * row_bytes;
      const auto rows_of = [&](std::size_t input) {
        return static_cast<const std::byte*>(inputs[input]) + at;
      };
      const auto rows_or_null = [&](bool there, std::size_t input) {
        return there ? rows_of(input) : nullptr;
      };
      const auto& [beside, more, added] = row_inputs_;
      NormRows job{.dtype = dtype_,
                   .x = rows_of(0),
                   .y = rows_or_null(beside > 0, 1),
                   .sum = sums_ ? static_cast<std::byte*>(outputs[1]) + at : nullptr,
                   .out = static_cast<std::byte*>(outputs[0]) + at,
                   .rows = end - begin,
                   .d = d_,
                   .weight = parameters[0],
                   .bias = parameters[1],
                   .eps = eps_};
      for (std::size_t i = 0; i < more; ++i) job.gradient.more[i] = rows_of(2 + i);
      job.gradient.added = rows_or_null(added > 0, 2 + more);
      run_norm_rows(job, of_);
    });
  }

 private:
  std::int64_t d_;
  std::int64_t rows_;
  DType dtype_;
  double eps_;
  NormOf of_;
  RowInputs row_inputs_;
  bool sums_;
  std::vector<DType> parameters_;
};

bool supports(const KernelRequest& request) {
  return std::none_of(request.inputs.begin(), request.inputs.end(),
                      [](const Slot& slot) { return slot.dtype == DType::f64; });
}

/// In place, a parameter must not be taken for a row.
bool supports_sum(const KernelRequest& request) {
  return supports(request) && request.output.shape().elements() > request.output.shape().dim(-1);
}

bool supports_gradient(const KernelRequest& request) {
  return supports(request) && request.attrs.as<NormGradientAttrs>().gradients <= most_norm_gradients;
}

template <NormOf of>
std::unique_ptr<Kernel> prepare(const KernelRequest& request) {
  return std::make_unique<NormKernel>(request, of, request.attrs.as<NormAttrs>().eps,
                                      RowInputs::of_norm(request));
}

template <NormOf of>
std::unique_ptr<Kernel> prepare_gradient(const KernelRequest& request) {
  return std::make_unique<NormKernel>(request, of, request.attrs.as<NormGradientAttrs>().eps,
                                      RowInputs::of_gradient(request));
}

constexpr KernelEntry entry(std::string_view op, std::unique_ptr<Kernel> (*prepare)(const KernelRequest&),
                            bool (*takes)(const KernelRequest&) = &supports) {
  return {.op = op, .prepare = prepare, .in_place = true, .supports = takes};
}

constexpr KernelEntry entries[] = {
    entry("rms_norm", prepare<NormOf::rms>),
    entry("layer_norm", prepare<NormOf::layer>),
    entry("add_rms_norm", prepare<NormOf::rms>, supports_sum),
    entry("add_layer_norm", prepare<NormOf::layer>, supports_sum),
    entry("rms_norm_gradient", prepare_gradient<NormOf::rms_gradient>, supports_gradient),
    entry("layer_norm_gradient", prepare_gradient<NormOf::layer_gradient>, supports_gradient),
};

}  // namespace

namespace cpu_kernels {
Entries norm() { return entries; }
}  // namespace cpu_kernels

}  // namespace wick
#endif
