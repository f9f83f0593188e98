// Loops that make tile functions out of element or vector functions, compiled once for each instruction set:
// hence the guard that Highway asks for instead of #pragma once.
#if defined(WICK_ELEMENTWISE_LOOPS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef WICK_ELEMENTWISE_LOOPS_INL_H
#undef WICK_ELEMENTWISE_LOOPS_INL_H
#else
#define WICK_ELEMENTWISE_LOOPS_INL_H
#endif

#include <hwy/highway.h>

#include <cstring>
#include <type_traits>

#include "backend/cpu/elementwise_tiles.h"

HWY_BEFORE_NAMESPACE();
namespace wick {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

template <class F, int arity, class D, typename T = hn::TFromD<D>>
HWY_INLINE auto apply_at(D d, const T* a, const T* b, const T* c) {
  if constexpr (arity == 1)
    return F::apply(d, hn::LoadU(d, a));
  else if constexpr (arity == 2)
    return F::apply(d, hn::LoadU(d, a), hn::LoadU(d, b));
  else
    return F::apply(d, hn::LoadU(d, a), hn::LoadU(d, b), hn::LoadU(d, c));
}

/// From a function of vectors, F::apply(d, a, ...).
template <typename T, class F, int arity>
void vector_tile(const void* pa, const void* pb, const void* pc, void* pout, std::size_t n) {
  const hn::ScalableTag<T> d;
  constexpr std::size_t lanes = hn::MaxLanes(d);
  const T* a = static_cast<const T*>(pa);
  const T* b = static_cast<const T*>(pb);
  const T* c = static_cast<const T*>(pc);
  T* out = static_cast<T*>(pout);
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(apply_at<F, arity>(d, a + i, b + i, c + i), d, out + i);
  if (i == n) return;
  T rest[4][lanes] = {};
  const std::size_t bytes = (n - i) * sizeof(T);
  std::memcpy(rest[0], a + i, bytes);
  if constexpr (arity > 1) std::memcpy(rest[1], b + i, bytes);
  if constexpr (arity > 2) std::memcpy(rest[2], c + i, bytes);
  hn::StoreU(apply_at<F, arity>(d, rest[0], rest[1], rest[2]), d, rest[3]);
  std::memcpy(out + i, rest[3], bytes);
}

/// From a function of elements, F::apply(a, ...): the compiler vectorises it for the instruction set.
template <typename In, typename Out, class F, int arity>
void element_tile(const void* pa, const void* pb, [[maybe_unused]] const void* pc, void* pout,
                  std::size_t n) {
  const In* a = static_cast<const In*>(pa);
  [[maybe_unused]] const In* b = static_cast<const In*>(pb);
  Out* out = static_cast<Out*>(pout);
  for (std::size_t i = 0; i < n; ++i) {
    if constexpr (arity == 1)
      out[i] = static_cast<Out>(F::apply(a[i]));
    else
      out[i] = static_cast<Out>(F::apply(a[i], b[i]));
  }
}

/// f32 and f64 from a function of vectors.
template <class F, int arity>
constexpr TileOp float_op(std::string_view op) {
  return {op, {&vector_tile<float, F, arity>, &vector_tile<double, F, arity>}};
}

}  // namespace HWY_NAMESPACE
}  // namespace wick
HWY_AFTER_NAMESPACE();

#endif
