#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace wick {

/// Element types. f64 exists for references; bf16 and f16 compute in f32 and round once on store.
enum class DType : std::uint8_t { bool_, u8, i32, i64, f16, bf16, f32, f64 };

inline constexpr int dtype_count = 8;

/// Bytes of one element.
constexpr std::size_t size_of(DType t) noexcept {
  switch (t) {
    case DType::bool_:
    case DType::u8: return 1;
    case DType::f16:
    case DType::bf16: return 2;
    case DType::i32:
    case DType::f32: return 4;
    case DType::i64:
    case DType::f64: return 8;
  }
  return 0;
}

constexpr bool is_floating(DType t) noexcept { return t >= DType::f16; }
constexpr bool is_integer(DType t) noexcept { return t == DType::u8 || t == DType::i32 || t == DType::i64; }

/// "f32", "bf16", "i64", "bool", ...
std::string_view name_of(DType t) noexcept;

/// Inverse of `name_of`; also accepts "float32", "bfloat16", "float16", "float64", "int32", "int64", "uint8".
/// Throws DTypeError that lists the names for anything else.
DType dtype_from_name(std::string_view name);

/// NumPy's promotion table (https://numpy.org/doc/stable/reference/arrays.promotion.html), with bf16 added:
/// bf16 with f16 gives f32, and bf16 behaves as f16 does with every other type.
DType promote(DType a, DType b) noexcept;

/// Storage types of the 16-bit floats. Conversions round to nearest even; NaN stays NaN.
struct bfloat16 {
  std::uint16_t bits = 0;
  bfloat16() = default;
  explicit bfloat16(float value) noexcept;
  explicit operator float() const noexcept;
};
struct float16 {
  std::uint16_t bits = 0;
  float16() = default;
  explicit float16(float value) noexcept;
  explicit operator float() const noexcept;
};

/// DType of a C++ element type; only the eight storage types are specialised.
template <typename T>
struct DTypeOf;
template <>
struct DTypeOf<bool> {
  static constexpr DType value = DType::bool_;
};
template <>
struct DTypeOf<std::uint8_t> {
  static constexpr DType value = DType::u8;
};
template <>
struct DTypeOf<std::int32_t> {
  static constexpr DType value = DType::i32;
};
template <>
struct DTypeOf<std::int64_t> {
  static constexpr DType value = DType::i64;
};
template <>
struct DTypeOf<float16> {
  static constexpr DType value = DType::f16;
};
template <>
struct DTypeOf<bfloat16> {
  static constexpr DType value = DType::bf16;
};
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::f32;
};
template <>
struct DTypeOf<double> {
  static constexpr DType value = DType::f64;
};
template <typename T>
inline constexpr DType dtype_of = DTypeOf<T>::value;

}  // namespace wick
