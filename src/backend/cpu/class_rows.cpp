#include "backend/cpu/class_rows.h"

#include <limits>

#include "backend/cpu/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/class_rows.cpp"
#include <hwy/foreach_target.h>

#include "backend/cpu/float_io-inl.h"

HWY_BEFORE_NAMESPACE();
namespace wick::HWY_NAMESPACE {

template <typename T>
float write_exponentials(const float* logits, std::int64_t count, float largest, T* weights) {
  const FloatVec shift = hn::Set(f32_tag, largest);
  FloatVec total = hn::Zero(f32_tag);
  const auto exponential = [&](FloatVec v) HWY_ATTR { return exp_vec(hn::Sub(v, shift)); };
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    const FloatVec e = exponential(load(logits + i));
    total = hn::Add(total, e);
    if (weights) store(e, weights + i);
  }
  if (i < count) {
    constexpr float lowest = -std::numeric_limits<float>::infinity();
    const FloatVec e = exponential(load_first(logits + i, count - i, lowest));
    total = hn::Add(total, e);
    if (weights) store_first(e, weights + i, count - i);
  }
  return sum_of(total);
}

void AddClasses(RunningSoftmax& row, const float* logits, std::int64_t count, bool sum_logits, void* weights,
                DType dtype, float* gradient, std::int64_t d) {
  constexpr float lowest = -std::numeric_limits<float>::infinity();
  FloatVec top = hn::Set(f32_tag, row.largest);
  for_each_vector(logits, count, lowest, [&](FloatVec v) HWY_ATTR { top = hn::Max(top, v); });
  const float largest = max_of(top);
  if (sum_logits) {
    FloatVec total = hn::Zero(f32_tag);
    for_each_vector(logits, count, 0.0f, [&](FloatVec v) HWY_ATTR { total = hn::Add(total, v); });
    row.logits += static_cast<double>(sum_of(total));
  }
  if (largest != row.largest) {
    const FloatVec shrink = exp_vec(hn::Set(f32_tag, row.largest - largest));
    row.sum *= hn::GetLane(shrink);
    if (gradient)
      map_row(gradient, gradient, d,
              [&](FloatVec v, std::int64_t, std::int64_t) HWY_ATTR { return hn::Mul(v, shrink); });
    row.largest = largest;
  }
  const float shift = largest == lowest ? 0.0f : largest;  // -inf logits only, so far
  row.sum += dtype == DType::bf16 ? write_exponentials(logits, count, shift, static_cast<bfloat16*>(weights))
                                  : write_exponentials(logits, count, shift, static_cast<float*>(weights));
}

void ClassGradients(const float* logits, std::int64_t count, float log_norm, float uniform, float scale,
                    void* weights, DType dtype) {
  const FloatVec shift = hn::Set(f32_tag, log_norm);
  const FloatVec less = hn::Set(f32_tag, uniform);
  const FloatVec factor = hn::Set(f32_tag, scale);
  const auto part = [&](FloatVec v, std::int64_t, std::int64_t)
                        HWY_ATTR { return hn::Mul(hn::Sub(exp_vec(hn::Sub(v, shift)), less), factor); };
  if (dtype == DType::bf16) {
    auto* out = static_cast<bfloat16*>(weights);
    std::int64_t i = 0;
    for (; i + lanes <= count; i += lanes) store(part(load(logits + i), i, lanes), out + i);
    if (i < count)
      store_first(part(load_first(logits + i, count - i, 0.0f), i, count - i), out + i, count - i);
  } else {
    map_row(logits, static_cast<float*>(weights), count, part);
  }
}

template <typename T>
void finish(const float* from, float scale, const T* weight, float weight_scale, float* to, std::int64_t d) {
  const FloatVec factor = hn::Set(f32_tag, scale);
  const FloatVec weight_factor = hn::Set(f32_tag, weight_scale);
  map_row(from, to, d, [&](FloatVec v, std::int64_t i, std::int64_t n) HWY_ATTR {
    const FloatVec w = n >= lanes ? load(weight + i) : load_first(weight + i, n, 0.0f);
    return hn::NegMulAdd(w, weight_factor, hn::Mul(v, factor));
  });
}

void FinishGradient(const float* from, float scale, DType dtype, const void* weight, float weight_scale,
                    float* to, std::int64_t d) {
  if (dtype == DType::bf16)
    finish(from, scale, static_cast<const bfloat16*>(weight), weight_scale, to, d);
  else if (dtype == DType::f16)
    finish(from, scale, static_cast<const float16*>(weight), weight_scale, to, d);
  else
    finish(from, scale, static_cast<const float*>(weight), weight_scale, to, d);
}

}  // namespace wick::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wick {
namespace {

HWY_EXPORT(AddClasses);
HWY_EXPORT(ClassGradients);
HWY_EXPORT(FinishGradient);

}  // namespace

void add_classes(RunningSoftmax& row, const float* logits, std::int64_t count, bool sum_logits, void* weights,
                 DType dtype, float* gradient, std::int64_t d) {
  HWY_DYNAMIC_DISPATCH(AddClasses)(row, logits, count, sum_logits, weights, dtype, gradient, d);
}

void class_gradients(const float* logits, std::int64_t count, float log_norm, float uniform, float scale,
                     void* weights, DType dtype) {
  HWY_DYNAMIC_DISPATCH(ClassGradients)(logits, count, log_norm, uniform, scale, weights, dtype);
}

void finish_gradient(const float* from, float scale, DType dtype, const void* weight, float weight_scale,
                     float* to, std::int64_t d) {
  HWY_DYNAMIC_DISPATCH(FinishGradient)(from, scale, dtype, weight, weight_scale, to, d);
}

}  // namespace wick
#endif
