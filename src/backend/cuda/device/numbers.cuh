#pragma once

// Element types as they lie in memory, and as they are computed with; compiled by nvcc and at run time: no
// includes.

namespace wick::cuda {

/// Booleans are bytes; any but 0 is true.
struct Bool {
  unsigned char byte;
};
struct Bf16 {
  unsigned short bits;
};
struct F16 {
  unsigned short bits;
};

template <typename T>
struct WideOf {
  using type = T;
};
template <>
struct WideOf<Bool> {
  using type = bool;
};
template <>
struct WideOf<Bf16> {
  using type = float;
};
template <>
struct WideOf<F16> {
  using type = float;
};
/// The type to compute in: f32 for the 16-bit floats.
template <typename T>
using Wide = typename WideOf<T>::type;

template <typename T, typename U>
inline constexpr bool same_type = false;
template <typename T>
inline constexpr bool same_type<T, T> = true;

template <typename T>
inline constexpr bool is_float = same_type<T, float> || same_type<T, double>;
template <typename T>
inline constexpr bool is_bool = same_type<T, bool>;

template <typename T>
__device__ __forceinline__ T read(T value) {
  return value;
}
__device__ __forceinline__ bool read(Bool value) { return value.byte != 0; }
__device__ __forceinline__ float read(Bf16 value) {
  return __uint_as_float(static_cast<unsigned int>(value.bits) << 16);
}
__device__ __forceinline__ float read(F16 value) {
  float wide;
  asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(value.bits));
  return wide;
}

/// A computed number as an element of type T: 16-bit floats round to nearest even.
template <typename T>
__device__ __forceinline__ T written(Wide<T> value) {
  if constexpr (same_type<T, Bool>) {
    return {static_cast<unsigned char>(value)};
  } else if constexpr (same_type<T, Bf16>) {
    Bf16 narrow;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(narrow.bits) : "f"(value));
    return narrow;
  } else if constexpr (same_type<T, F16>) {
    F16 narrow;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(narrow.bits) : "f"(value));
    return narrow;
  } else {
    return value;
  }
}

/// A number as T holds it.
template <typename T>
__device__ __forceinline__ Wide<T> rounded(Wide<T> value) {
  return read(written<T>(value));
}

/// The smallest and largest number of an integer type.
template <typename T>
struct Limits;
template <>
struct Limits<bool> {
  static constexpr bool low = false;
  static constexpr bool high = true;
};
template <>
struct Limits<unsigned char> {
  static constexpr unsigned char low = 0;
  static constexpr unsigned char high = 255;
};
template <>
struct Limits<int> {
  static constexpr int high = 2147483647;
  static constexpr int low = -high - 1;
};
template <>
struct Limits<long long> {
  static constexpr long long high = 9223372036854775807ll;
  static constexpr long long low = -high - 1;
};
template <typename T>
__device__ __forceinline__ T infinity() {
  if constexpr (same_type<T, double>)
    return __longlong_as_double(0x7FF0000000000000ll);
  else
    return __int_as_float(0x7F800000);
}

/// Between computed types: floats to integers truncate and saturate, NaN gives 0; integers wrap.
template <typename To, typename From>
__device__ __forceinline__ To convert(From value) {
  if constexpr (is_bool<To>) {
    return value != From(0);
  } else if constexpr (is_float<From> && !is_float<To>) {
    // The limits of i64 round outward in f32 and f64, so compare before converting.
    if (!(value > static_cast<From>(Limits<To>::low))) return value != value ? To(0) : Limits<To>::low;
    return value < static_cast<From>(Limits<To>::high) ? static_cast<To>(value) : Limits<To>::high;
  } else {
    return static_cast<To>(value);
  }
}

/// Neighbours that are read or written at once.
template <typename T, int width>
struct alignas(sizeof(T) * width < 16 ? sizeof(T) * width : 16) Pack {
  T at[width];
};

/// The first `count` of `width` elements; all at once, from an aligned address, when there are that many.
template <int width, typename T>
__device__ __forceinline__ Pack<T, width> load_pack(const T* from, int count = width) {
  if (count == width) return *reinterpret_cast<const Pack<T, width>*>(from);
  Pack<T, width> pack = {};
#pragma unroll
  for (int i = 0; i < width; ++i)
    if (i < count) pack.at[i] = from[i];
  return pack;
}

template <int width, typename T>
__device__ __forceinline__ void store_pack(T* to, const Pack<T, width>& pack, int count = width) {
  if (count == width) {
    *reinterpret_cast<Pack<T, width>*>(to) = pack;
    return;
  }
#pragma unroll
  for (int i = 0; i < width; ++i)
    if (i < count) to[i] = pack.at[i];
}

}  // namespace wick::cuda
