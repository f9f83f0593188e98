#include <cmath>
#include <limits>
#include <type_traits>

#include "backend/cpu/highway_targets.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/row_parallel.h"
#include "ops/attributes.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/softmax.cpp"
#include <hwy/foreach_target.h>

#include "backend/cpu/float_io-inl.h"

// Shared by the parts below, which Highway compiles once per target.
#ifndef WICK_SOFTMAX_ROWS
#define WICK_SOFTMAX_ROWS
namespace wick {

/// Rows of x [rows, count]; of a gradient, x is the result, and `grad` its gradient.
struct SoftmaxRows {
  DType dtype;
  const void* x;
  const void* grad;
  void* out;
  std::int64_t rows;
  std::int64_t count;
  bool logarithm;
};

}  // namespace wick
#endif

HWY_BEFORE_NAMESPACE();
namespace wick::HWY_NAMESPACE {

constexpr float lowest = -std::numeric_limits<float>::infinity();

template <typename T>
void softmax_row(const T* x, T* out, std::int64_t count) {
  const FloatVec log2e = hn::Set(f32_tag, 1.44269504f);
  const FloatVec shift = hn::Set(f32_tag, max_of_row(x, count, lowest));
  const auto weight = [&](FloatVec v) HWY_ATTR { return exp2_vec(hn::Mul(hn::Sub(v, shift), log2e)); };
  if constexpr (std::is_same_v<T, float>) {
    const FloatVec scale = hn::Set(f32_tag, 1.0f / map_row_and_sum(x, out, count, lowest, weight));
    map_row(out, out, count,
            [&](FloatVec v, std::int64_t, std::int64_t) HWY_ATTR { return hn::Mul(v, scale); });
  } else {  // weights rounded to T before they are scaled would be rounded twice: computed again instead
    const FloatVec scale = hn::Set(f32_tag, 1.0f / sum_over_row(x, count, lowest, weight));
    map_row(x, out, count,
            [&](FloatVec v, std::int64_t, std::int64_t) HWY_ATTR { return hn::Mul(weight(v), scale); });
  }
}

template <typename T>
void log_softmax_row(const T* x, T* out, std::int64_t count) {
  const FloatVec shift = hn::Set(f32_tag, max_of_row(x, count, lowest));
  const auto weight = [&](FloatVec v) HWY_ATTR { return exp_vec(hn::Sub(v, shift)); };
  const FloatVec log_sum = hn::Set(f32_tag, std::log(sum_over_row(x, count, lowest, weight)));
  map_row(x, out, count, [&](FloatVec v, std::int64_t, std::int64_t) HWY_ATTR {
    return hn::Sub(hn::Sub(v, shift), log_sum);
  });
}

template <typename T>
void softmax_gradient_row(const T* y, const T* grad, T* out, std::int64_t count) {
  const FloatVec products = fold(
      count, hn::Zero(f32_tag),
      [&](FloatVec sum, std::int64_t i, std::int64_t n)
          HWY_ATTR { return hn::MulAdd(load_some(y + i, n), load_some(grad + i, n), sum); },
      [](FloatVec a, FloatVec b) HWY_ATTR { return hn::Add(a, b); });
  const FloatVec inner = hn::Set(f32_tag, sum_of(products));
  map_row(y, out, count, [&](FloatVec v, std::int64_t i, std::int64_t n) HWY_ATTR {
    return hn::Mul(v, hn::Sub(load_some(grad + i, n), inner));
  });
}

template <typename T>
void log_softmax_gradient_row(const T* y, const T* grad, T* out, std::int64_t count) {
  const FloatVec total =
      hn::Set(f32_tag, sum_over_row(grad, count, 0.0f, [](FloatVec v) HWY_ATTR { return v; }));
  map_row(y, out, count, [&](FloatVec v, std::int64_t i, std::int64_t n) HWY_ATTR {
    return hn::NegMulAdd(exp_vec(v), total, load_some(grad + i, n));
  });
}

template <typename T>
void softmax_rows(const SoftmaxRows& job) {
  for (std::int64_t at = 0; at < job.rows * job.count; at += job.count) {
    const T* const x = static_cast<const T*>(job.x) + at;
    const T* const grad = job.grad ? static_cast<const T*>(job.grad) + at : nullptr;
    T* const out = static_cast<T*>(job.out) + at;
    if (at + job.count < job.rows * job.count) prefetch_row(x + job.count, job.count);
    if (grad && job.logarithm)
      log_softmax_gradient_row(x, grad, out, job.count);
    else if (grad)
      softmax_gradient_row(x, grad, out, job.count);
    else if (job.logarithm)
      log_softmax_row(x, out, job.count);
    else
      softmax_row(x, out, job.count);
  }
}

void RunSoftmaxRows(const SoftmaxRows& job) {
  if (job.dtype == DType::bf16)
    softmax_rows<bfloat16>(job);
  else if (job.dtype == DType::f16)
    softmax_rows<float16>(job);
  else
    softmax_rows<float>(job);
}

}  // namespace wick::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wick {
namespace {

HWY_EXPORT(RunSoftmaxRows);

/// Over a contiguous last axis. Inputs are x, or, of a gradient, the result and its gradient.
class SoftmaxKernel final : public Kernel {
 public:
  SoftmaxKernel(const KernelRequest& request, bool logarithm)
      : dtype_(request.output.dtype),
        count_(request.output.shape().dim(-1)),
        rows_(count_ > 0 ? request.output.shape().elements() / count_ : 0),
        is_gradient_(request.inputs.size() > 1),
        logarithm_(logarithm) {}

  void run(const void* const* inputs, void* output, void*) const override {
    const auto row_bytes = count_ * static_cast<std::int64_t>(size_of(dtype_));
    const auto* x = static_cast<const std::byte*>(inputs[0]);
    const auto* grad = is_gradient_ ? static_cast<const std::byte*>(inputs[1]) : nullptr;
    auto* out = static_cast<std::byte*>(output);
    parallel_rows(rows_, count_, [&](std::int64_t begin, std::int64_t end) {
      const std::int64_t at = begin * row_bytes;
      HWY_DYNAMIC_DISPATCH(RunSoftmaxRows)
      ({dtype_, x + at, grad ? grad + at : nullptr, out + at, end - begin, count_, logarithm_});
    });
  }

 private:
  DType dtype_;
  std::int64_t count_;
  std::int64_t rows_;
  bool is_gradient_;
  bool logarithm_;
};

bool supports(const KernelRequest& request) {
  const Slot& x = request.inputs[0];
  return x.dtype != DType::f64 && request.attrs.as<AxisAttrs>().axis == x.shape().rank() - 1;
}

template <bool logarithm>
std::unique_ptr<Kernel> prepare(const KernelRequest& request) {
  return std::make_unique<SoftmaxKernel>(request, logarithm);
}

constexpr KernelEntry entries[] = {
    {.op = "softmax", .prepare = prepare<false>, .in_place = true, .supports = supports},
    {.op = "log_softmax", .prepare = prepare<true>, .in_place = true, .supports = supports},
    {.op = "softmax_gradient", .prepare = prepare<false>, .in_place = true, .supports = supports},
    {.op = "log_softmax_gradient", .prepare = prepare<true>, .in_place = true, .supports = supports},
};

}  // namespace

namespace cpu_kernels {
Entries softmax() { return entries; }
}  // namespace cpu_kernels

}  // namespace wick
#endif
