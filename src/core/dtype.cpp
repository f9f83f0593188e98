#include "wick/dtype.h"

#include <array>
#include <bit>
#include <cmath>

#include "wick/error.h"

namespace wick {
namespace {

constexpr std::array<std::string_view, dtype_count> names{"bool", "u8",   "i32", "i64",
                                                          "f16",  "bf16", "f32", "f64"};
constexpr std::array<std::string_view, dtype_count> long_names{"bool",    "uint8",    "int32",   "int64",
                                                               "float16", "bfloat16", "float32", "float64"};

using enum DType;
// Rows and columns in the order of DType.
constexpr DType promotion[dtype_count][dtype_count] = {
    /* bool */ {bool_, u8, i32, i64, f16, bf16, f32, f64},
    /* u8   */ {u8, u8, i32, i64, f16, bf16, f32, f64},
    /* i32  */ {i32, i32, i32, i64, f64, f64, f64, f64},
    /* i64  */ {i64, i64, i64, i64, f64, f64, f64, f64},
    /* f16  */ {f16, f16, f64, f64, f16, f32, f32, f64},
    /* bf16 */ {bf16, bf16, f64, f64, f32, bf16, f32, f64},
    /* f32  */ {f32, f32, f64, f64, f32, f32, f32, f64},
    /* f64  */ {f64, f64, f64, f64, f64, f64, f64, f64},
};

}  // namespace

std::string_view name_of(DType t) noexcept { return names[static_cast<std::size_t>(t)]; }

DType dtype_from_name(std::string_view name) {
  for (std::size_t i = 0; i < names.size(); ++i)
    if (name == names[i] || name == long_names[i]) return static_cast<DType>(i);
  std::string known;
  for (auto n : names) known += (known.empty() ? "" : ", ") + std::string(n);
  throw DTypeError("unknown dtype \"" + std::string(name) + "\"; known are " + known);
}

DType promote(DType a, DType b) noexcept { return promotion[static_cast<int>(a)][static_cast<int>(b)]; }

bfloat16::bfloat16(float value) noexcept {
  auto u = std::bit_cast<std::uint32_t>(value);
  if (std::isnan(value))
    bits = static_cast<std::uint16_t>((u >> 16) | 0x40u);
  else
    bits = static_cast<std::uint16_t>((u + 0x7FFFu + ((u >> 16) & 1u)) >> 16);
}

bfloat16::operator float() const noexcept {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

float16::float16(float value) noexcept {
  const auto u = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = (u >> 16) & 0x8000u;
  const std::uint32_t magnitude = u & 0x7FFFFFFFu;
  std::uint32_t half;
  if (magnitude > 0x7F800000u) {
    half = 0x7E00u;
  } else if (magnitude >= 0x477FF000u) {
    half = 0x7C00u;  // rounds beyond 65504
  } else if (magnitude < 0x38800000u) {
    // Subnormal half: adding 0.5 aligns the mantissa so that the FPU does the rounding.
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    half = std::bit_cast<std::uint32_t>(shifted) - 0x3F000000u;
  } else {
    half = (magnitude - 0x38000000u + 0xFFFu + ((magnitude >> 13) & 1u)) >> 13;
  }
  bits = static_cast<std::uint16_t>(sign | half);
}

float16::operator float() const noexcept {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000u) << 16;
  const std::uint32_t exponent = (bits >> 10) & 0x1Fu;
  const std::uint32_t mantissa = bits & 0x3FFu;
  if (exponent == 0x1F) return std::bit_cast<float>(sign | 0x7F800000u | (mantissa << 13));
  if (exponent != 0) return std::bit_cast<float>(sign | ((exponent + 112u) << 23) | (mantissa << 13));
  const float subnormal = static_cast<float>(mantissa) * 0x1p-24f;
  return sign ? -subnormal : subnormal;
}

}  // namespace wick
