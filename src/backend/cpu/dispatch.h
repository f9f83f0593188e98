#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "wick/dtype.h"

namespace wick {

/// Calls f.template operator()<T>() with the element type T of `dtype`: visit_dtype(dtype, [&]<typename T>()
/// { ... }).
template <typename F>
decltype(auto) visit_dtype(DType dtype, const F& f) {
  switch (dtype) {
    case DType::bool_: return f.template operator()<bool>();
    case DType::u8: return f.template operator()<std::uint8_t>();
    case DType::i32: return f.template operator()<std::int32_t>();
    case DType::i64: return f.template operator()<std::int64_t>();
    case DType::f16: return f.template operator()<float16>();
    case DType::bf16: return f.template operator()<bfloat16>();
    case DType::f32: return f.template operator()<float>();
    case DType::f64: break;
  }
  return f.template operator()<double>();
}

/// The same with an unsigned integer of the element's size, for kernels that only move elements.
template <typename F>
decltype(auto) visit_word(DType dtype, const F& f) {
  switch (size_of(dtype)) {
    case 1: return f.template operator()<std::uint8_t>();
    case 2: return f.template operator()<std::uint16_t>();
    case 4: return f.template operator()<std::uint32_t>();
    default: return f.template operator()<std::uint64_t>();
  }
}

template <typename T>
inline constexpr bool is_narrow_float = std::is_same_v<T, bfloat16> || std::is_same_v<T, float16>;

/// The type to compute in: f32 for the 16-bit floats.
template <typename T>
using Wide = std::conditional_t<is_narrow_float<T>, float, T>;

template <typename T>
Wide<T> wide(T value) {
  return static_cast<Wide<T>>(value);
}

/// a + b; integers wrap around.
template <typename T>
T wrapping_add(T a, T b) {
  if constexpr (std::is_integral_v<T>)
    return static_cast<T>(static_cast<std::uint64_t>(a) + static_cast<std::uint64_t>(b));
  else
    return a + b;
}

}  // namespace wick
