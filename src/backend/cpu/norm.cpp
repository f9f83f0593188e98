#include <algorithm>
#include <cmath>
#include <vector>

#include "backend/cpu/float_convert.h"
#include "backend/cpu/highway_targets.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/row_parallel.h"
#include "ops/attributes.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/norm.cpp"
#include <hwy/foreach_target.h>

#include "backend/cpu/float_io-inl.h"

// Shared by the parts below, which Highway compiles once per target.
#ifndef WICK_NORM_ROWS
#define WICK_NORM_ROWS
namespace wick {

/// Rows of x [rows, d], or of x + y, which goes to `sum`, where y is not null; weight and bias may be null.
struct NormRows {
  DType dtype;
  const void* x;
  const void* y;
  void* sum;
  void* out;
  std::int64_t rows;
  std::int64_t d;
  const float* weight;
  const float* bias;
  double eps;
};

}  // namespace wick
#endif

HWY_BEFORE_NAMESPACE();
namespace wick::HWY_NAMESPACE {

template <typename T>
void rms_norm_row(const T* x, T* out, const NormRows& job) {
  const float squares = sum_over_row(x, job.d, 0.0f, [](FloatVec v) HWY_ATTR { return hn::Mul(v, v); });
  const double mean = static_cast<double>(squares) / static_cast<double>(job.d);
  const FloatVec scale = hn::Set(f32_tag, static_cast<float>(1 / std::sqrt(mean + job.eps)));
  map_row(x, out, job.d, [&](FloatVec v, std::int64_t i, std::int64_t n) HWY_ATTR {
    const FloatVec normalized = hn::Mul(v, scale);
    return job.weight ? hn::Mul(rounded_to<T>(normalized), load_some(job.weight + i, n)) : normalized;
  });
}

/// Sums over a row of its distances to a number.
struct Deviations {
  FloatVec of_values;
  FloatVec of_squares;
};

template <typename T>
void layer_norm_row(const T* x, T* out, const NormRows& job) {
  const auto d = static_cast<float>(job.d);
  // The second sum also finds what rounding left out of the first mean: a row of nearly equal numbers needs
  // it.
  const float first_mean = sum_over_row(x, job.d, 0.0f, [](FloatVec v) HWY_ATTR { return v; }) / d;
  const FloatVec about = hn::Set(f32_tag, first_mean);
  const Deviations sums = fold_row(
      x, job.d, first_mean, Deviations{hn::Zero(f32_tag), hn::Zero(f32_tag)},
      [&](const Deviations& sum, FloatVec v) HWY_ATTR {
        const FloatVec centered = hn::Sub(v, about);
        return Deviations{hn::Add(sum.of_values, centered), hn::MulAdd(centered, centered, sum.of_squares)};
      },
      [](const Deviations& a, const Deviations& b) HWY_ATTR {
        return Deviations{hn::Add(a.of_values, b.of_values), hn::Add(a.of_squares, b.of_squares)};
      });
  const float left = sum_of(sums.of_values) / d;
  const float squares = sum_of(sums.of_squares);
  const FloatVec mean = hn::Set(f32_tag, first_mean + left);
  const double variance = std::max(
      0.0, static_cast<double>(squares) / static_cast<double>(job.d) - static_cast<double>(left) * left);
  const FloatVec scale = hn::Set(f32_tag, static_cast<float>(1 / std::sqrt(variance + job.eps)));
  map_row(x, out, job.d, [&](FloatVec v, std::int64_t i, std::int64_t n) HWY_ATTR {
    FloatVec y = hn::Mul(hn::Sub(v, mean), scale);
    if (job.weight) y = hn::Mul(y, load_some(job.weight + i, n));
    if (job.bias) y = hn::Add(y, load_some(job.bias + i, n));
    return y;
  });
}

template <typename T>
void norm_rows(const NormRows& job, bool centered) {
  for (std::int64_t at = 0; at < job.rows * job.d; at += job.d) {
    const T* x = static_cast<const T*>(job.x) + at;
    if (at + job.d < job.rows * job.d) prefetch_row(x + job.d, job.d);
    if (job.y) {
      const T* const y = static_cast<const T*>(job.y) + at;
      T* const sum = static_cast<T*>(job.sum) + at;
      map_row(x, sum, job.d, [&](FloatVec v, std::int64_t i, std::int64_t n) HWY_ATTR {
        return hn::Add(v, load_some(y + i, n));
      });
      x = sum;
    }
    T* const out = static_cast<T*>(job.out) + at;
    if (centered)
      layer_norm_row(x, out, job);
    else
      rms_norm_row(x, out, job);
  }
}

void RunNormRows(const NormRows& job, bool centered) {
  if (job.dtype == DType::bf16)
    norm_rows<bfloat16>(job, centered);
  else if (job.dtype == DType::f16)
    norm_rows<float16>(job, centered);
  else
    norm_rows<float>(job, centered);
}

}  // namespace wick::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wick {
namespace {

HWY_EXPORT(RunNormRows);

/// Inputs are x, what is added to it, if that is what the op does, and the parameters.
class NormKernel final : public Kernel {
 public:
  NormKernel(const KernelRequest& request, bool centered)
      : d_(request.output.shape().dim(-1)),
        rows_(d_ > 0 ? request.output.shape().elements() / d_ : 0),
        dtype_(request.output.dtype),
        eps_(request.attrs.as<NormAttrs>().eps),
        centered_(centered),
        adds_(request.op.results > 1) {
    for (const Slot& parameter : request.inputs.subspan(terms())) parameters_.push_back(parameter.dtype);
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
        parameters[i] = static_cast<const float*>(inputs[terms() + i]);
      } else {
        float* wide = static_cast<float*>(scratch) + static_cast<std::int64_t>(i) * d_;
        widen_row(parameters_[i], inputs[terms() + i], wide, d_);
        parameters[i] = wide;
      }
    }
    const auto row_bytes = d_ * static_cast<std::int64_t>(size_of(dtype_));
    const auto* x = static_cast<const std::byte*>(inputs[0]);
    const auto* y = adds_ ? static_cast<const std::byte*>(inputs[1]) : nullptr;
    auto* sum = adds_ ? static_cast<std::byte*>(outputs[1]) : nullptr;
    auto* out = static_cast<std::byte*>(outputs[0]);
    parallel_rows(rows_, d_, [&](std::int64_t begin, std::int64_t end) {
      const std::int64_t at = begin * row_bytes;
      HWY_DYNAMIC_DISPATCH(RunNormRows)
      ({dtype_, x + at, adds_ ? y + at : nullptr, adds_ ? sum + at : nullptr, out + at, end - begin, d_,
        parameters[0], parameters[1], eps_},
       centered_);
    });
  }

 private:
  std::size_t terms() const { return adds_ ? 2 : 1; }

  std::int64_t d_;
  std::int64_t rows_;
  DType dtype_;
  double eps_;
  bool centered_;
  bool adds_;
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

template <bool centered>
std::unique_ptr<Kernel> prepare(const KernelRequest& request) {
  return std::make_unique<NormKernel>(request, centered);
}

constexpr KernelEntry entries[] = {
    {.op = "rms_norm", .prepare = prepare<false>, .in_place = true, .supports = supports},
    {.op = "layer_norm", .prepare = prepare<true>, .in_place = true, .supports = supports},
    {.op = "add_rms_norm", .prepare = prepare<false>, .in_place = true, .supports = supports_sum},
    {.op = "add_layer_norm", .prepare = prepare<true>, .in_place = true, .supports = supports_sum},
};

}  // namespace

namespace cpu_kernels {
Entries norm() { return entries; }
}  // namespace cpu_kernels

}  // namespace wick
#endif
