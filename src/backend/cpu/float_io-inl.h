// Vectors of f32 loaded from and stored to f32, bf16 and f16 memory. Included once per Highway target.
#if defined(WICK_FLOAT_IO_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef WICK_FLOAT_IO_INL_H
#undef WICK_FLOAT_IO_INL_H
#else
#define WICK_FLOAT_IO_INL_H
#endif

#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "wick/dtype.h"

HWY_BEFORE_NAMESPACE();
namespace wick::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Float = hn::ScalableTag<float>;
using FloatVec = hn::Vec<Float>;
constexpr Float f32_tag{};
/// Of a vector; the targets in use have vectors of fixed length.
constexpr std::int64_t lanes = static_cast<std::int64_t>(hn::MaxLanes(f32_tag));

// All lanes.

HWY_INLINE FloatVec load(const float* p) { return hn::LoadU(f32_tag, p); }
HWY_INLINE FloatVec load(const bfloat16* p) {
  const hn::Rebind<std::uint16_t, Float> narrow;
  const hn::Rebind<std::uint32_t, Float> wide;
  const auto bits = hn::PromoteTo(wide, hn::LoadU(narrow, reinterpret_cast<const std::uint16_t*>(p)));
  return hn::BitCast(f32_tag, hn::ShiftLeft<16>(bits));
}
HWY_INLINE FloatVec load(const float16* p) {
  const hn::Rebind<hwy::float16_t, Float> narrow;
  return hn::PromoteTo(f32_tag, hn::LoadU(narrow, reinterpret_cast<const hwy::float16_t*>(p)));
}

HWY_INLINE void store(FloatVec v, float* p) { hn::StoreU(v, f32_tag, p); }
HWY_INLINE void store(FloatVec v, bfloat16* p) {
  // Round to nearest even on the bits, as the scalar conversion does.
  const hn::Rebind<std::uint16_t, Float> narrow;
  const hn::Rebind<std::uint32_t, Float> wide;
  const hn::Rebind<std::int32_t, Float> wide_signed;
  const auto bits = hn::BitCast(wide, v);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(wide, 1));
  const auto rounded = hn::ShiftRight<16>(hn::Add(hn::Add(bits, hn::Set(wide, 0x7FFF)), odd));
  const auto nan = hn::Or(hn::ShiftRight<16>(bits), hn::Set(wide, 0x40));
  const auto result = hn::IfThenElse(hn::RebindMask(wide, hn::Eq(v, v)), rounded, nan);
  hn::StoreU(hn::DemoteTo(narrow, hn::BitCast(wide_signed, result)), narrow,
             reinterpret_cast<std::uint16_t*>(p));
}
HWY_INLINE void store(FloatVec v, float16* p) {
  const hn::Rebind<hwy::float16_t, Float> narrow;
  hn::StoreU(hn::DemoteTo(narrow, v), narrow, reinterpret_cast<hwy::float16_t*>(p));
}

// The first `n` lanes, for what is left at the end of a row; nothing behind them is touched.

template <typename T>
HWY_INLINE FloatVec load_first(const T* p, std::int64_t n, float others) {
#if HWY_TARGET <= HWY_AVX2  // its masked loads of 32 bits leave what the mask excludes alone
  if constexpr (std::is_same_v<T, float>) {
    const auto first = hn::FirstN(f32_tag, static_cast<std::size_t>(n));
    return hn::IfThenElse(first, hn::MaskedLoad(first, f32_tag, p), hn::Set(f32_tag, others));
  }
#endif
  HWY_ALIGN T buffer[hn::MaxLanes(f32_tag)];
  const T filler(others);
  std::fill_n(buffer, lanes, filler);
  std::memcpy(buffer, p, static_cast<std::size_t>(n) * sizeof(T));
  return load(buffer);
}
template <typename T>
HWY_INLINE void store_first(FloatVec v, T* p, std::int64_t n) {
#if HWY_TARGET <= HWY_AVX2
  if constexpr (std::is_same_v<T, float>) {
    hn::BlendedStore(v, hn::FirstN(f32_tag, static_cast<std::size_t>(n)), f32_tag, p);
    return;
  }
#endif
  HWY_ALIGN T buffer[hn::MaxLanes(f32_tag)];
  store(v, buffer);
  std::memcpy(p, buffer, static_cast<std::size_t>(n) * sizeof(T));
}

/// What is left of `v` after a store in T.
template <typename T>
HWY_INLINE FloatVec rounded_to(FloatVec v) {
  if constexpr (std::is_same_v<T, float>) {
    return v;
  } else {
    HWY_ALIGN T buffer[hn::MaxLanes(f32_tag)];
    store(v, buffer);
    return load(buffer);
  }
}

/// exp of x <= 0, within 3 ulp; 0 where the result is below the smallest normal number. NaN stays NaN.
/// exp(x) = 2^n 2^f with n = round(x log2 e) and f in [-1/2, 1/2]; 2^f by the polynomial of degree 6 that is
/// closest on that interval (relative error 2e-9).
HWY_INLINE FloatVec exp_vec(FloatVec x) {
  constexpr float to_integer = 12582912.0f;  // 1.5 2^23: adding it leaves the nearest integer in the low bits
  const hn::RebindToSigned<Float> integers;
  const FloatVec log2e = hn::Set(f32_tag, 1.44269504f);
  const FloatVec rest_of_log2e = hn::Set(f32_tag, 1.92596299e-8f);
  const FloatVec shifted = hn::MulAdd(x, log2e, hn::Set(f32_tag, to_integer));
  const FloatVec n = hn::Sub(shifted, hn::Set(f32_tag, to_integer));
  const FloatVec f = hn::MulAdd(x, rest_of_log2e, hn::MulSub(x, log2e, n));
  FloatVec p = hn::Set(f32_tag, 1.535336188e-4f);
  p = hn::MulAdd(p, f, hn::Set(f32_tag, 1.339887440e-3f));
  p = hn::MulAdd(p, f, hn::Set(f32_tag, 9.618437357e-3f));
  p = hn::MulAdd(p, f, hn::Set(f32_tag, 5.550332548e-2f));
  p = hn::MulAdd(p, f, hn::Set(f32_tag, 2.402264791e-1f));
  p = hn::MulAdd(p, f, hn::Set(f32_tag, 6.931472028e-1f));
  p = hn::MulAdd(p, f, hn::Set(f32_tag, 1.0f));
  const FloatVec power = hn::BitCast(
      f32_tag, hn::Add(hn::ShiftLeft<23>(hn::BitCast(integers, shifted)), hn::Set(integers, 127 << 23)));
  const auto underflows = hn::Lt(x, hn::Set(f32_tag, -87.3f));
  return hn::IfThenElse(underflows, hn::Zero(f32_tag), hn::Mul(p, power));
}

/// 2^x of x <= 0, 2e-7 relative; 0 where the result is below the smallest normal number. NaN stays NaN. The
/// polynomial of degree 5 is the closest to 2^f for f in [-1/2, 1/2].
HWY_INLINE FloatVec exp2_vec(FloatVec x) {
  const hn::RebindToSigned<Float> integers;
  const FloatVec to_integer = hn::Set(f32_tag, 12582912.0f);  // 1.5 2^23, as above
  const FloatVec shifted = hn::Add(x, to_integer);
  const FloatVec f = hn::Sub(x, hn::Sub(shifted, to_integer));
  FloatVec p = hn::Set(f32_tag, 1.32764725e-3f);
  p = hn::MulAdd(p, f, hn::Set(f32_tag, 9.67554096e-3f));
  p = hn::MulAdd(p, f, hn::Set(f32_tag, 5.55071309e-2f));
  p = hn::MulAdd(p, f, hn::Set(f32_tag, 2.40221202e-1f));
  p = hn::MulAdd(p, f, hn::Set(f32_tag, 6.93146944e-1f));
  p = hn::MulAdd(p, f, hn::Set(f32_tag, 1.00000012f));
  const FloatVec power = hn::BitCast(
      f32_tag, hn::Add(hn::ShiftLeft<23>(hn::BitCast(integers, shifted)), hn::Set(integers, 127 << 23)));
  const auto underflows = hn::Lt(x, hn::Set(f32_tag, -125.9f));
  return hn::IfThenZeroElse(underflows, hn::Mul(p, power));
}

HWY_INLINE float sum_of(FloatVec v) { return hn::GetLane(hn::SumOfLanes(f32_tag, v)); }
HWY_INLINE float max_of(FloatVec v) { return hn::GetLane(hn::MaxOfLanes(f32_tag, v)); }

// The functions passed to these need HWY_ATTR: compilers do not extend a region's target to lambdas.

/// Calls f(vector of lanes [i, i + lanes)) along a row of `count`; the last one is filled up with `others`.
template <typename T, typename F>
HWY_INLINE void for_each_vector(const T* row, std::int64_t count, float others, const F& f) {
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes) f(load(row + i));
  if (i < count) f(load_first(row + i, count - i, others));
}

/// Folds [0, count): `step(sum, i, n)` takes in the n <= lanes elements from i on, from `start` on, in four
/// independent sums, since one would wait for each addition; `join` puts them together.
template <typename Sum, typename Step, typename Join>
HWY_INLINE Sum fold(std::int64_t count, const Sum& start, const Step& step, const Join& join) {
  Sum a = start;
  Sum b = start;
  Sum c = start;
  Sum d = start;
  std::int64_t i = 0;
  for (; i + 4 * lanes <= count; i += 4 * lanes) {
    a = step(a, i, lanes);
    b = step(b, i + lanes, lanes);
    c = step(c, i + 2 * lanes, lanes);
    d = step(d, i + 3 * lanes, lanes);
  }
  for (; i + lanes <= count; i += lanes) a = step(a, i, lanes);
  if (i < count) b = step(b, i, count - i);
  return join(join(a, b), join(c, d));
}

/// load or load_first.
template <typename T>
HWY_INLINE FloatVec load_some(const T* p, std::int64_t n, float others = 0.0f) {
  return n >= lanes ? load(p) : load_first(p, n, others);
}

/// Folds a row: `step(sum, vector)`. `others` fill the last vector up.
template <typename T, typename Sum, typename Step, typename Join>
HWY_INLINE Sum fold_row(const T* row, std::int64_t count, float others, const Sum& start, const Step& step,
                        const Join& join) {
  return fold(
      count, start,
      [&](const Sum& sum, std::int64_t i, std::int64_t n)
          HWY_ATTR { return step(sum, load_some(row + i, n, others)); },
      join);
}

template <typename T>
HWY_INLINE float max_of_row(const T* row, std::int64_t count, float start) {
  const auto larger = [](FloatVec a, FloatVec b) HWY_ATTR { return hn::Max(a, b); };
  return max_of(fold_row(row, count, start, hn::Set(f32_tag, start), larger, larger));
}

/// Sum of f(x[i]); `others` is a value with f = 0.
template <typename T, typename F>
HWY_INLINE float sum_over_row(const T* row, std::int64_t count, float others, const F& f) {
  return sum_of(fold_row(
      row, count, others, hn::Zero(f32_tag),
      [&](FloatVec sum, FloatVec v) HWY_ATTR { return hn::Add(sum, f(v)); },
      [](FloatVec a, FloatVec b) HWY_ATTR { return hn::Add(a, b); }));
}

/// out[i] = f(x[i], i); f's index is that of the vector's first lane, `n` the number of its lanes that
/// matter.
template <typename T, typename F>
HWY_INLINE void map_row(const T* x, T* out, std::int64_t count, const F& f) {
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes) store(f(load(x + i), i, lanes), out + i);
  if (i < count) store_first(f(load_first(x + i, count - i, 0.0f), i, count - i), out + i, count - i);
}

/// Asks for the lines of a row that is read next: the hardware does not look across pages.
template <typename T>
HWY_INLINE void prefetch_row(const T* row, std::int64_t count) {
  constexpr std::int64_t line = 64 / sizeof(T);
  for (std::int64_t i = 0; i < count; i += line) __builtin_prefetch(row + i);
}

/// out[i] = f(x[i]); returns the sum of what f gives, as sum_over_row does. `others` is a value with f = 0.
template <typename T, typename F>
HWY_INLINE float map_row_and_sum(const T* x, T* out, std::int64_t count, float others, const F& f) {
  FloatVec sums[4] = {hn::Zero(f32_tag), hn::Zero(f32_tag), hn::Zero(f32_tag), hn::Zero(f32_tag)};
  const auto map = [&](FloatVec& sum, std::int64_t i) HWY_ATTR {
    const FloatVec y = f(load(x + i));
    store(y, out + i);
    sum = hn::Add(sum, y);
  };
  std::int64_t i = 0;
  for (; i + 4 * lanes <= count; i += 4 * lanes) {
    map(sums[0], i);
    map(sums[1], i + lanes);
    map(sums[2], i + 2 * lanes);
    map(sums[3], i + 3 * lanes);
  }
  for (; i + lanes <= count; i += lanes) map(sums[0], i);
  if (i < count) {
    const FloatVec y = f(load_first(x + i, count - i, others));
    store_first(y, out + i, count - i);
    sums[1] = hn::Add(sums[1], y);
  }
  return sum_of(hn::Add(hn::Add(sums[0], sums[1]), hn::Add(sums[2], sums[3])));
}

}  // namespace wick::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
