#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "backend/cpu/elementwise_tiles.h"
#include "backend/cpu/float_convert.h"

namespace wick {
namespace {

/// Booleans live in bytes; the type tells them from u8.
enum class Boolean : std::uint8_t {};

template <typename From>
bool is_nonzero(From value) {
  if constexpr (std::is_same_v<From, Boolean>)
    return static_cast<std::uint8_t>(value) != 0;
  else
    return value != From{0};
}

template <typename To, typename From>
To truncate(From value) {
  // The limits of i64 round outward in f32 and f64, so compare before converting.
  constexpr auto low = static_cast<From>(std::numeric_limits<To>::min());
  constexpr auto high = static_cast<From>(std::numeric_limits<To>::max());
  if (!(value > low)) return std::isnan(value) ? To{0} : std::numeric_limits<To>::min();
  return value < high ? static_cast<To>(value) : std::numeric_limits<To>::max();
}

template <typename To, typename From>
To convert(From value) {
  if constexpr (std::is_same_v<To, Boolean>)
    return static_cast<Boolean>(is_nonzero(value));
  else if constexpr (std::is_same_v<From, Boolean>)
    return static_cast<To>(is_nonzero(value));
  else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>)
    return truncate<To>(value);
  else
    return static_cast<To>(value);
}

template <typename From, typename To>
void convert_tile(const void* in, const void*, const void*, void* out, std::size_t n) {
  const From* from = static_cast<const From*>(in);
  To* to = static_cast<To*>(out);
  for (std::size_t i = 0; i < n; ++i) to[i] = convert<To>(from[i]);
}

/// Calls f with a value of the C++ type of compute type `type`.
template <typename F>
auto with_compute_type(DType type, const F& f) {
  switch (type) {
    case DType::f64: return f(double{});
    case DType::i32: return f(std::int32_t{});
    case DType::i64: return f(std::int64_t{});
    case DType::u8: return f(std::uint8_t{});
    case DType::bool_: return f(Boolean{});
    default: return f(float{});
  }
}

template <typename T>
void load_elements(const void* source, std::ptrdiff_t stride, void* tile, std::size_t n) {
  const T* from = static_cast<const T*>(source);
  T* to = static_cast<T*>(tile);
  if (stride == 1)
    std::memcpy(to, from, n * sizeof(T));
  else if (stride == 0)
    std::fill_n(to, n, *from);
  else
    for (std::size_t i = 0; i < n; ++i) to[i] = from[static_cast<std::ptrdiff_t>(i) * stride];
}

template <typename T>
void load_narrow_floats(const void* source, std::ptrdiff_t stride, void* tile, std::size_t n) {
  const T* from = static_cast<const T*>(source);
  float* to = static_cast<float*>(tile);
  if (stride == 1)
    widen_row(dtype_of<T>, from, to, static_cast<std::int64_t>(n));
  else if (stride == 0)
    std::fill_n(to, n, static_cast<float>(*from));
  else
    for (std::size_t i = 0; i < n; ++i)
      to[i] = static_cast<float>(from[static_cast<std::ptrdiff_t>(i) * stride]);
}

template <typename T>
void store_elements(const void* tile, void* out, std::size_t n) {
  if (tile != out) std::memcpy(out, tile, n * sizeof(T));
}

template <typename T>
void store_narrow_floats(const void* tile, void* out, std::size_t n) {
  narrow_row(dtype_of<T>, static_cast<const float*>(tile), out, static_cast<std::int64_t>(n));
}

}  // namespace

TileFunction conversion_tile(DType from, DType to) {
  if (from == to) return nullptr;
  return with_compute_type(from, [to](auto source) -> TileFunction {
    return with_compute_type(
        to, [](auto target) -> TileFunction { return &convert_tile<decltype(source), decltype(target)>; });
  });
}

TileLoad tile_load(DType dtype) {
  if (dtype == DType::bf16) return &load_narrow_floats<bfloat16>;
  if (dtype == DType::f16) return &load_narrow_floats<float16>;
  return with_compute_type(dtype, [](auto zero) -> TileLoad { return &load_elements<decltype(zero)>; });
}

TileStore tile_store(DType dtype) {
  if (dtype == DType::bf16) return &store_narrow_floats<bfloat16>;
  if (dtype == DType::f16) return &store_narrow_floats<float16>;
  return with_compute_type(dtype, [](auto zero) -> TileStore { return &store_elements<decltype(zero)>; });
}

void write_number(double value, DType dtype, void* element) {
  with_compute_type(compute_type(dtype), [&](auto zero) {
    const auto converted = convert<decltype(zero)>(value);
    tile_store(dtype)(&converted, element, 1);
  });
}

TileFunction find_tile(std::string_view op, DType type) {
  const auto column =
      static_cast<std::size_t>(std::find(tile_types.begin(), tile_types.end(), type) - tile_types.begin());
  for (std::span<const TileOp> list : {arithmetic_tiles(), math_tiles()})
    for (const TileOp& entry : list)
      if (entry.op == op && entry.functions[column]) return entry.functions[column];
  return nullptr;
}

}  // namespace wick
