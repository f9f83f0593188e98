#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "backend/cpu/highway_targets.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/row_parallel.h"
#include "ops/attributes.h"
#include "wick/error.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/cross_entropy.cpp"
#include <hwy/foreach_target.h>

#include "backend/cpu/float_io-inl.h"

HWY_BEFORE_NAMESPACE();
namespace wick::HWY_NAMESPACE {

/// The largest logit of a row, and log(sum(exp(logit - largest))).
struct LogSum {
  float largest;
  float log_sum;
};

template <typename T>
LogSum log_sum(const T* logits, std::int64_t classes) {
  constexpr float lowest = -std::numeric_limits<float>::infinity();
  FloatVec top = hn::Set(f32_tag, lowest);
  for_each_vector(logits, classes, lowest, [&](FloatVec v) HWY_ATTR { top = hn::Max(top, v); });
  const float largest = max_of(top);
  const FloatVec shift = hn::Set(f32_tag, largest);
  FloatVec total = hn::Zero(f32_tag);
  for_each_vector(logits, classes, lowest,
                  [&](FloatVec v) HWY_ATTR { total = hn::Add(total, exp_vec(hn::Sub(v, shift))); });
  return {largest, std::log(sum_of(total))};
}

template <typename T>
double row_loss(const T* logits, std::int64_t classes, std::int64_t target, double smoothing) {
  const LogSum norm = log_sum(logits, classes);
  const auto nll =
      static_cast<double>(norm.log_sum) -
      (static_cast<double>(static_cast<float>(logits[target])) - static_cast<double>(norm.largest));
  if (smoothing == 0) return nll;
  FloatVec below = hn::Zero(f32_tag);
  const FloatVec shift = hn::Set(f32_tag, norm.largest);
  for_each_vector(logits, classes, norm.largest,
                  [&](FloatVec v) HWY_ATTR { below = hn::Add(below, hn::Sub(v, shift)); });
  const double mean_log_p =
      static_cast<double>(sum_of(below)) / static_cast<double>(classes) - static_cast<double>(norm.log_sum);
  return (1 - smoothing) * nll - smoothing * mean_log_p;
}

double RowLoss(DType dtype, const void* logits, std::int64_t classes, std::int64_t target, double smoothing) {
  if (dtype == DType::bf16) return row_loss(static_cast<const bfloat16*>(logits), classes, target, smoothing);
  if (dtype == DType::f16) return row_loss(static_cast<const float16*>(logits), classes, target, smoothing);
  return row_loss(static_cast<const float*>(logits), classes, target, smoothing);
}

template <typename T>
void row_gradient(const T* logits, T* out, std::int64_t classes, std::int64_t target, float grad,
                  double smoothing) {
  const LogSum norm = log_sum(logits, classes);
  const FloatVec shift = hn::Set(f32_tag, norm.largest + norm.log_sum);
  const FloatVec uniform = hn::Set(f32_tag, static_cast<float>(smoothing / static_cast<double>(classes)));
  const FloatVec scale = hn::Set(f32_tag, grad);
  const auto part = [&](FloatVec v)
                        HWY_ATTR { return hn::Mul(hn::Sub(exp_vec(hn::Sub(v, shift)), uniform), scale); };
  // The target's class gets one more term before it is rounded. Written first: `out` may be `logits`.
  const FloatVec at_target = hn::Set(f32_tag, static_cast<float>(logits[target]));
  const FloatVec bonus = hn::Set(f32_tag, grad * static_cast<float>(1 - smoothing));
  HWY_ALIGN T special[hn::MaxLanes(f32_tag)];
  store(hn::Sub(part(at_target), bonus), special);
  map_row(logits, out, classes, [&](FloatVec v, std::int64_t, std::int64_t) HWY_ATTR { return part(v); });
  out[target] = special[0];
}

void RowGradient(DType dtype, const void* logits, void* out, std::int64_t classes, std::int64_t target,
                 float grad, double smoothing) {
  if (dtype == DType::bf16)
    row_gradient(static_cast<const bfloat16*>(logits), static_cast<bfloat16*>(out), classes, target, grad,
                 smoothing);
  else if (dtype == DType::f16)
    row_gradient(static_cast<const float16*>(logits), static_cast<float16*>(out), classes, target, grad,
                 smoothing);
  else
    row_gradient(static_cast<const float*>(logits), static_cast<float*>(out), classes, target, grad,
                 smoothing);
}

}  // namespace wick::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wick {
namespace {

HWY_EXPORT(RowLoss);
HWY_EXPORT(RowGradient);

/// What the loss and its gradient share: rows of logits and their targets.
class CrossEntropyKernel : public Kernel {
 public:
  explicit CrossEntropyKernel(const KernelRequest& request)
      : options_(request.attrs.as<CrossEntropyAttrs>()),
        dtype_(request.inputs[0].dtype),
        target_dtype_(request.inputs[1].dtype),
        classes_(request.inputs[0].shape().dim(-1)),
        rows_(request.inputs[1].shape().elements()) {}

 protected:
  std::int64_t target(const void* targets, std::int64_t row) const {
    return target_dtype_ == DType::i32 ? static_cast<const std::int32_t*>(targets)[row]
                                       : static_cast<const std::int64_t*>(targets)[row];
  }
  bool ignored(std::int64_t target) const { return target == options_.ignore_index; }
  void check_targets(const void* targets) const {
    for (std::int64_t row = 0; row < rows_; ++row) {
      const std::int64_t t = target(targets, row);
      if (!ignored(t) && (t < 0 || t >= classes_))
        throw ArgumentError(fmt::format(
            "cross_entropy_sum: target {} at position {} is neither one of the {} classes nor the ignored {}",
            t, row, classes_, options_.ignore_index));
    }
  }
  std::int64_t row_bytes() const { return classes_ * static_cast<std::int64_t>(size_of(dtype_)); }

  CrossEntropyAttrs options_;
  DType dtype_;
  DType target_dtype_;
  std::int64_t classes_;
  std::int64_t rows_;
};

class LossKernel final : public CrossEntropyKernel {
 public:
  using CrossEntropyKernel::CrossEntropyKernel;
  std::size_t scratch_bytes() const override { return static_cast<std::size_t>(rows_) * sizeof(double); }

  void run(const void* const* inputs, void* output, void* scratch) const override {
    check_targets(inputs[1]);
    const auto* logits = static_cast<const std::byte*>(inputs[0]);
    auto* losses = static_cast<double*>(scratch);
    parallel_rows(rows_, classes_, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        const std::int64_t t = target(inputs[1], row);
        losses[row] = ignored(t) ? 0
                                 : HWY_DYNAMIC_DISPATCH(RowLoss)(dtype_, logits + row * row_bytes(), classes_,
                                                                 t, options_.label_smoothing);
      }
    });
    // In order, so that the number of threads does not change the sum.
    double total = 0;
    for (std::int64_t row = 0; row < rows_; ++row) total += losses[row];
    *static_cast<float*>(output) = static_cast<float>(total);
  }
};

class GradientKernel final : public CrossEntropyKernel {
 public:
  using CrossEntropyKernel::CrossEntropyKernel;

  void run(const void* const* inputs, void* output, void*) const override {
    check_targets(inputs[1]);
    const auto* logits = static_cast<const std::byte*>(inputs[0]);
    const float grad = *static_cast<const float*>(inputs[2]);
    auto* out = static_cast<std::byte*>(output);
    parallel_rows(rows_, classes_, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        const std::int64_t t = target(inputs[1], row);
        std::byte* to = out + row * row_bytes();
        if (ignored(t))
          std::memset(to, 0, static_cast<std::size_t>(row_bytes()));
        else
          HWY_DYNAMIC_DISPATCH(RowGradient)
        (dtype_, logits + row * row_bytes(), to, classes_, t, grad, options_.label_smoothing);
      }
    });
  }
};

bool supports(const KernelRequest& request) { return request.inputs[0].dtype != DType::f64; }

template <typename K>
std::unique_ptr<Kernel> prepare(const KernelRequest& request) {
  return std::make_unique<K>(request);
}

constexpr KernelEntry entries[] = {
    {.op = "cross_entropy_sum", .prepare = prepare<LossKernel>, .supports = supports},
    {.op = "cross_entropy_gradient",
     .prepare = prepare<GradientKernel>,
     .in_place = true,
     .supports = supports},
};

}  // namespace

namespace cpu_kernels {
Entries cross_entropy() { return entries; }
}  // namespace cpu_kernels

}  // namespace wick
#endif
