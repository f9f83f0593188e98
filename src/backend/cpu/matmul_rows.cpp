#include "backend/cpu/matmul_rows.h"

#include "backend/cpu/float_convert.h"
#include "backend/cpu/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/matmul_rows.cpp"
#include <hwy/foreach_target.h>

#include "backend/cpu/float_io-inl.h"

HWY_BEFORE_NAMESPACE();
namespace wick::HWY_NAMESPACE {

/// Dot products of `R` neighbouring rows with one vector: each piece of the vector is loaded once for all of
/// them, and two sums a row hide the latency of the additions.
template <int R, typename T>
void dots(const T* rows, std::int64_t stride, std::int64_t depth, const float* vector, float* out) {
  FloatVec even[R];
  FloatVec odd[R];
  for (int r = 0; r < R; ++r) even[r] = odd[r] = hn::Zero(f32_tag);
  std::int64_t i = 0;
  for (; i + 2 * lanes <= depth; i += 2 * lanes) {
    const FloatVec v0 = load(vector + i);
    const FloatVec v1 = load(vector + i + lanes);
    for (int r = 0; r < R; ++r) {
      even[r] = hn::MulAdd(load(rows + r * stride + i), v0, even[r]);
      odd[r] = hn::MulAdd(load(rows + r * stride + i + lanes), v1, odd[r]);
    }
  }
  for (; i < depth; i += lanes) {
    const std::int64_t n = std::min(lanes, depth - i);
    const FloatVec v = load_some(vector + i, n);
    for (int r = 0; r < R; ++r) {
      const T* row = rows + r * stride + i;
      even[r] = hn::MulAdd(n == lanes ? load(row) : load_first(row, n, 0.0f), v, even[r]);
    }
  }
  for (int r = 0; r < R; ++r) out[r] = sum_of(hn::Add(even[r], odd[r]));
}

template <typename T>
void dot_all(const T* rows, std::int64_t stride, std::int64_t count, std::int64_t depth, const float* vector,
             float* out) {
  std::int64_t i = 0;
  for (; i + 4 <= count; i += 4) dots<4>(rows + i * stride, stride, depth, vector, out + i);
  for (; i < count; ++i) dots<1>(rows + i * stride, stride, depth, vector, out + i);
}

void DotAll(DType dtype, const void* rows, std::int64_t stride, std::int64_t count, std::int64_t depth,
            const float* vector, float* out) {
  if (dtype == DType::bf16)
    dot_all(static_cast<const bfloat16*>(rows), stride, count, depth, vector, out);
  else if (dtype == DType::f16)
    dot_all(static_cast<const float16*>(rows), stride, count, depth, vector, out);
  else
    dot_all(static_cast<const float*>(rows), stride, count, depth, vector, out);
}

}  // namespace wick::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wick {

HWY_EXPORT(DotAll);

void dot_rows(DType dtype, const void* rows, std::int64_t row_stride, std::int64_t count, std::int64_t depth,
              const float* vector, const float* bias, DType out_dtype, void* out) {
  constexpr std::int64_t block = 64;
  float sums[block];
  const auto element = static_cast<std::int64_t>(size_of(dtype));
  const auto out_element = static_cast<std::int64_t>(size_of(out_dtype));
  for (std::int64_t i = 0; i < count; i += block) {
    const std::int64_t n = std::min(block, count - i);
    HWY_DYNAMIC_DISPATCH(DotAll)
    (dtype, static_cast<const std::byte*>(rows) + i * row_stride * element, row_stride, n, depth, vector,
     sums);
    for (std::int64_t j = 0; bias && j < n; ++j) sums[j] += bias[i + j];
    narrow_row(out_dtype, sums, static_cast<std::byte*>(out) + i * out_element, n);
  }
}

}  // namespace wick
#endif
