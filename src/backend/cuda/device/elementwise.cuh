#pragma once

// The elementwise ops as functions of their names on computed types; compiled at run time, in kernels that
// elementwise_source.cpp writes: no includes but these.

#include "backend/cuda/device/index.cuh"
#include "backend/cuda/device/numbers.cuh"

#define WICK_OP __device__ __forceinline__

namespace wick::cuda::ops {

template <typename T>
struct BitsOf;
template <>
struct BitsOf<unsigned char> {
  using type = unsigned int;
};
template <>
struct BitsOf<int> {
  using type = unsigned int;
};
template <>
struct BitsOf<long long> {
  using type = unsigned long long;
};
/// Unsigned, so that integers wrap around.
template <typename T>
using Bits = typename BitsOf<T>::type;

template <typename T>
WICK_OP T add(T a, T b) {
  if constexpr (is_bool<T>)
    return a || b;
  else if constexpr (is_float<T>)
    return a + b;
  else
    return static_cast<T>(static_cast<Bits<T>>(a) + static_cast<Bits<T>>(b));
}

template <typename T>
WICK_OP T sub(T a, T b) {
  if constexpr (is_float<T>)
    return a - b;
  else
    return static_cast<T>(static_cast<Bits<T>>(a) - static_cast<Bits<T>>(b));
}

template <typename T>
WICK_OP T mul(T a, T b) {
  if constexpr (is_bool<T>)
    return a && b;
  else if constexpr (is_float<T>)
    return a * b;
  else
    return static_cast<T>(static_cast<Bits<T>>(a) * static_cast<Bits<T>>(b));
}

template <typename T>
WICK_OP T div(T a, T b) {
  return a / b;
}

/// NaN beats every number; of two zeros the second wins.
template <typename T>
WICK_OP T minimum(T a, T b) {
  if constexpr (is_float<T>)
    return a != a || a < b ? a : b;
  else
    return b < a ? b : a;
}
template <typename T>
WICK_OP T maximum(T a, T b) {
  if constexpr (is_float<T>)
    return a != a || a > b ? a : b;
  else
    return a < b ? b : a;
}

template <typename T>
WICK_OP T relu(T x) {
  return maximum(x, T(0));
}

template <typename T>
WICK_OP T clamp(T x, T low, T high) {
  return minimum(maximum(x, low), high);
}

template <typename T>
WICK_OP T neg(T x) {
  if constexpr (is_float<T>)
    return -x;
  else
    return sub(T(0), x);
}

template <typename T>
WICK_OP T abs(T x) {
  if constexpr (same_type<T, float>)
    return ::fabsf(x);
  else if constexpr (same_type<T, double>)
    return ::fabs(x);
  else if constexpr (is_bool<T>)
    return x;
  else
    return x < 0 ? neg(x) : x;
}

/// Zero and NaN stay.
template <typename T>
WICK_OP T sign(T x) {
  if constexpr (is_float<T>)
    return x < 0 ? T(-1) : x > 0 ? T(1) : x;
  else
    return static_cast<T>((x > 0) - (x < 0));
}

template <typename T>
WICK_OP T square(T x) {
  return mul(x, x);
}

WICK_OP float sqrt(float x) { return ::sqrtf(x); }
WICK_OP double sqrt(double x) { return ::sqrt(x); }
WICK_OP float exp(float x) { return ::expf(x); }
WICK_OP double exp(double x) { return ::exp(x); }
WICK_OP float log(float x) { return ::logf(x); }
WICK_OP double log(double x) { return ::log(x); }
WICK_OP float sin(float x) { return ::sinf(x); }
WICK_OP double sin(double x) { return ::sin(x); }
WICK_OP float cos(float x) { return ::cosf(x); }
WICK_OP double cos(double x) { return ::cos(x); }
WICK_OP float tanh(float x) { return ::tanhf(x); }
WICK_OP double tanh(double x) { return ::tanh(x); }
WICK_OP float erf(float x) { return ::erff(x); }
WICK_OP double erf(double x) { return ::erf(x); }
WICK_OP float pow(float x, float y) { return ::powf(x, y); }
WICK_OP double pow(double x, double y) { return ::pow(x, y); }

/// By squaring. A negative exponent gives the quotient 1 / base^-exponent truncated toward zero, and 0 for
/// base 0.
template <typename T>
WICK_OP T pow(T base, T exponent) {
  if (exponent < 0) {
    if (base == 1) return 1;
    const bool odd = exponent % 2 != 0;
    return base + 1 == 0 ? static_cast<T>(odd ? -1 : 1) : T(0);
  }
  T result = 1;
  for (auto e = static_cast<Bits<T>>(exponent); e != 0; e >>= 1) {
    if (e & 1) result = mul(result, base);
    base = mul(base, base);
  }
  return result;
}

template <typename T>
WICK_OP T rsqrt(T x) {
  return T(1) / sqrt(x);
}
template <typename T>
WICK_OP T sigmoid(T x) {
  return T(1) / (T(1) + exp(-x));
}
template <typename T>
WICK_OP T silu(T x) {
  return x / (T(1) + exp(-x));
}
template <typename T>
WICK_OP T gelu(T x) {
  return x * T(0.5) * (erf(x * T(0.70710678118654752440)) + T(1));
}
/// 0.5 (1 + tanh(u)) is sigmoid(2 u), without the cancellation for negative u.
template <typename T>
WICK_OP T gelu_tanh(T x) {
  constexpr T twice_scale = T(1.5957691216057307117);  // 2 sqrt(2 / pi)
  return x * sigmoid(x * twice_scale * (x * x * T(0.044715) + T(1)));
}

template <typename T>
WICK_OP bool equal(T a, T b) {
  return a == b;
}
template <typename T>
WICK_OP bool not_equal(T a, T b) {
  return a != b;
}
template <typename T>
WICK_OP bool less(T a, T b) {
  return a < b;
}
template <typename T>
WICK_OP bool less_equal(T a, T b) {
  return a <= b;
}
template <typename T>
WICK_OP bool greater(T a, T b) {
  return a > b;
}
template <typename T>
WICK_OP bool greater_equal(T a, T b) {
  return a >= b;
}
template <typename T>
WICK_OP bool logical_and(T a, T b) {
  return a != T(0) && b != T(0);
}
template <typename T>
WICK_OP bool logical_or(T a, T b) {
  return a != T(0) || b != T(0);
}
template <typename T>
WICK_OP bool logical_not(T x) {
  return x == T(0);
}
template <typename T>
WICK_OP bool is_finite(T x) {
  if constexpr (is_float<T>)
    return x - x == T(0);  // NaN for NaN and infinities
  else
    return true;
}
template <typename T>
WICK_OP T where(bool condition, T a, T b) {
  return condition ? a : b;
}

}  // namespace wick::cuda::ops
