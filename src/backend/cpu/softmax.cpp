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
void softmax_rows(const void* x, void* out, std::int64_t rows, std::int64_t count, bool logarithm) {
  const auto* from = static_cast<const T*>(x);
  auto* to = static_cast<T*>(out);
  for (std::int64_t r = 0; r < rows; ++r, from += count, to += count) {
    if (r + 1 < rows) prefetch_row(from + count, count);
    if (logarithm)
      log_softmax_row(from, to, count);
    else
      softmax_row(from, to, count);
  }
}

void SoftmaxRows(DType dtype, const void* x, void* out, std::int64_t rows, std::int64_t count,
                 bool logarithm) {
  if (dtype == DType::bf16)
    softmax_rows<bfloat16>(x, out, rows, count, logarithm);
  else if (dtype == DType::f16)
    softmax_rows<float16>(x, out, rows, count, logarithm);
  else
    softmax_rows<float>(x, out, rows, count, logarithm);
}

}  // namespace wick::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wick {
namespace {

HWY_EXPORT(SoftmaxRows);

/// Over a contiguous last axis.
class SoftmaxKernel final : public Kernel {
 public:
  SoftmaxKernel(const KernelRequest& request, bool logarithm)
      : dtype_(request.output.dtype),
        count_(request.output.shape().dim(-1)),
        rows_(count_ > 0 ? request.output.shape().elements() / count_ : 0),
        logarithm_(logarithm) {}

  void run(const void* const* inputs, void* output, void*) const override {
    const auto row_bytes = count_ * static_cast<std::int64_t>(size_of(dtype_));
    const auto* from = static_cast<const std::byte*>(inputs[0]);
    auto* to = static_cast<std::byte*>(output);
    parallel_rows(rows_, count_, [&](std::int64_t begin, std::int64_t end) {
      HWY_DYNAMIC_DISPATCH(SoftmaxRows)
      (dtype_, from + begin * row_bytes, to + begin * row_bytes, end - begin, count_, logarithm_);
    });
  }

 private:
  DType dtype_;
  std::int64_t count_;
  std::int64_t rows_;
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
};

}  // namespace

namespace cpu_kernels {
Entries softmax() { return entries; }
}  // namespace cpu_kernels

}  // namespace wick
#endif
