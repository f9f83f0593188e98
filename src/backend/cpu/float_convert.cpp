#include "backend/cpu/float_convert.h"

#include "backend/cpu/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/float_convert.cpp"
#include <hwy/foreach_target.h>

#include "backend/cpu/float_io-inl.h"

HWY_BEFORE_NAMESPACE();
namespace wick::HWY_NAMESPACE {

template <typename From, typename To>
void convert(const From* from, To* to, std::int64_t count) {
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes) store(load(from + i), to + i);
  if (i < count) store_first(load_first(from + i, count - i, 0.0f), to + i, count - i);
}

void Widen(DType dtype, const void* from, float* to, std::int64_t count) {
  if (dtype == DType::bf16)
    convert(static_cast<const bfloat16*>(from), to, count);
  else if (dtype == DType::f16)
    convert(static_cast<const float16*>(from), to, count);
  else
    convert(static_cast<const float*>(from), to, count);
}

void Narrow(DType dtype, const float* from, void* to, std::int64_t count) {
  if (dtype == DType::bf16)
    convert(from, static_cast<bfloat16*>(to), count);
  else if (dtype == DType::f16)
    convert(from, static_cast<float16*>(to), count);
  else
    convert(from, static_cast<float*>(to), count);
}

}  // namespace wick::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wick {

HWY_EXPORT(Widen);
HWY_EXPORT(Narrow);

void widen_row(DType dtype, const void* from, float* to, std::int64_t count) {
  HWY_DYNAMIC_DISPATCH(Widen)(dtype, from, to, count);
}
void narrow_row(DType dtype, const float* from, void* to, std::int64_t count) {
  HWY_DYNAMIC_DISPATCH(Narrow)(dtype, from, to, count);
}

}  // namespace wick
#endif
