#include "backend/cpu/matmul_rows.h"

#include "backend/cpu/float_convert.h"
#include "backend/cpu/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/matmul_rows.cpp"
#include <hwy/foreach_target.h>

#include "backend/cpu/float_io-inl.h"

HWY_BEFORE_NAMESPACE();
namespace wick::HWY_NAMESPACE {

/// Bytes ahead of which rows are asked for when they come from memory: a thread reads one behind the other,
/// but a processor that is left to guess sees R short streams.
constexpr std::int64_t ahead = 32768;

template <typename T>
void ask_ahead(const T* elements) {
  constexpr std::int64_t cache_line = 64;
  const char* at = reinterpret_cast<const char*>(elements) + ahead;
  for (std::int64_t b = 0; b < 2 * lanes * static_cast<std::int64_t>(sizeof(T)); b += cache_line)
    __builtin_prefetch(at + b, 0, 2);
}

/// Dot products of `R` neighbouring rows with one vector: each piece of the vector is loaded once for all of
/// them, and two sums a row hide the latency of the additions.
template <int R, bool Ahead, typename T>
void dots(const T* rows, std::int64_t stride, std::int64_t depth, const float* vector, float* out) {
  FloatVec even[R];
  FloatVec odd[R];
  for (int r = 0; r < R; ++r) even[r] = odd[r] = hn::Zero(f32_tag);
  std::int64_t i = 0;
  for (; i + 2 * lanes <= depth; i += 2 * lanes) {
    const FloatVec v0 = load(vector + i);
    const FloatVec v1 = load(vector + i + lanes);
    for (int r = 0; r < R; ++r) {
      if constexpr (Ahead) ask_ahead(rows + r * stride + i);
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

template <bool Ahead, typename T>
void dot_all(const T* rows, std::int64_t stride, std::int64_t count, std::int64_t depth, const float* vector,
             float* out) {
  std::int64_t i = 0;
  for (; i + 4 <= count; i += 4) dots<4, Ahead>(rows + i * stride, stride, depth, vector, out + i);
  for (; i < count; ++i) dots<1, Ahead>(rows + i * stride, stride, depth, vector, out + i);
}

template <typename T>
void dot_typed(const void* rows, std::int64_t stride, std::int64_t count, std::int64_t depth,
               const float* vector, float* out, bool from_memory) {
  if (from_memory)
    dot_all<true>(static_cast<const T*>(rows), stride, count, depth, vector, out);
  else
    dot_all<false>(static_cast<const T*>(rows), stride, count, depth, vector, out);
}

void DotAll(DType dtype, const void* rows, std::int64_t stride, std::int64_t count, std::int64_t depth,
            const float* vector, float* out, bool from_memory) {
  if (dtype == DType::bf16)
    dot_typed<bfloat16>(rows, stride, count, depth, vector, out, from_memory);
  else if (dtype == DType::f16)
    dot_typed<float16>(rows, stride, count, depth, vector, out, from_memory);
  else
    dot_typed<float>(rows, stride, count, depth, vector, out, from_memory);
}

}  // namespace wick::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wick {

HWY_EXPORT(DotAll);

void dot_rows(DType dtype, const void* rows, std::int64_t row_stride, std::int64_t count, std::int64_t depth,
              const float* vector, const float* bias, DType out_dtype, void* out) {
  constexpr std::int64_t block = 64;
  constexpr std::int64_t cached_bytes = std::int64_t{256} << 10;  // rows of fewer may lie in a cache
  float sums[block];
  const auto element = static_cast<std::int64_t>(size_of(dtype));
  const auto out_element = static_cast<std::int64_t>(size_of(out_dtype));
  const bool from_memory = count * depth * element > cached_bytes;
  for (std::int64_t i = 0; i < count; i += block) {
    const std::int64_t n = std::min(block, count - i);
    HWY_DYNAMIC_DISPATCH(DotAll)
    (dtype, static_cast<const std::byte*>(rows) + i * row_stride * element, row_stride, n, depth, vector,
     sums, from_memory);
    for (std::int64_t j = 0; bias && j < n; ++j) sums[j] += bias[i + j];
    narrow_row(out_dtype, sums, static_cast<std::byte*>(out) + i * out_element, n);
  }
}

}  // namespace wick
#endif
