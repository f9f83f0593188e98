#include <cstdint>

#include "backend/cpu/elementwise_tiles.h"
#include "backend/cpu/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/elementwise_tiles_arithmetic.cpp"
#include <hwy/foreach_target.h>

#include "backend/cpu/elementwise_loops-inl.h"

HWY_BEFORE_NAMESPACE();
namespace wick {
namespace HWY_NAMESPACE {
namespace {

// Each struct has the vector form for floats (d first) and the element form for integers, which wrap around.

template <typename T>
using Bits = std::make_unsigned_t<T>;

struct Add {
  template <class D, class V>
  static HWY_INLINE V apply(D, V a, V b) {
    return hn::Add(a, b);
  }
  template <typename T>
  static T apply(T a, T b) {
    return static_cast<T>(static_cast<Bits<T>>(a) + static_cast<Bits<T>>(b));
  }
};

struct Sub {
  template <class D, class V>
  static HWY_INLINE V apply(D, V a, V b) {
    return hn::Sub(a, b);
  }
  template <typename T>
  static T apply(T a, T b) {
    return static_cast<T>(static_cast<Bits<T>>(a) - static_cast<Bits<T>>(b));
  }
};

struct Mul {
  template <class D, class V>
  static HWY_INLINE V apply(D, V a, V b) {
    return hn::Mul(a, b);
  }
  template <typename T>
  static T apply(T a, T b) {
    return static_cast<T>(Bits<T>{1} * static_cast<Bits<T>>(a) * static_cast<Bits<T>>(b));
  }
};

struct Div {
  template <class D, class V>
  static HWY_INLINE V apply(D, V a, V b) {
    return hn::Div(a, b);
  }
};

// x86's min and max give the second operand when either is NaN: only a NaN in the first is left to see to.
struct Minimum {
  template <class D, class V>
  static HWY_INLINE V apply(D, V a, V b) {
    return hn::IfThenElse(hn::IsNaN(a), a, hn::Min(a, b));
  }
  template <typename T>
  static T apply(T a, T b) {
    return b < a ? b : a;
  }
};

struct Maximum {
  template <class D, class V>
  static HWY_INLINE V apply(D, V a, V b) {
    return hn::IfThenElse(hn::IsNaN(a), a, hn::Max(a, b));
  }
  template <typename T>
  static T apply(T a, T b) {
    return a < b ? b : a;
  }
};

struct Relu {
  template <class D, class V>
  static HWY_INLINE V apply(D d, V x) {
    return Maximum::apply(d, x, hn::Zero(d));
  }
  template <typename T>
  static T apply(T x) {
    return x > 0 ? x : T{0};
  }
};

struct Clamp {
  template <class D, class V>
  static HWY_INLINE V apply(D d, V x, V low, V high) {
    return Minimum::apply(d, Maximum::apply(d, x, low), high);
  }
};

struct Neg {
  template <class D, class V>
  static HWY_INLINE V apply(D, V x) {
    return hn::Neg(x);
  }
  template <typename T>
  static T apply(T x) {
    return Sub::apply(T{0}, x);
  }
};

struct Abs {
  template <class D, class V>
  static HWY_INLINE V apply(D, V x) {
    return hn::Abs(x);
  }
  template <typename T>
  static T apply(T x) {
    return x < 0 ? Neg::apply(x) : x;
  }
};

struct Sign {
  template <class D, class V>
  static HWY_INLINE V apply(D d, V x) {
    using T = hn::TFromD<D>;
    const V zero = hn::Zero(d);
    const V positive = hn::IfThenElse(hn::Gt(x, zero), hn::Set(d, T{1}), x);  // zero and NaN stay
    return hn::IfThenElse(hn::Lt(x, zero), hn::Set(d, T{-1}), positive);
  }
  template <typename T>
  static T apply(T x) {
    return static_cast<T>((x > 0) - (x < 0));
  }
};

struct Square {
  template <class D, class V>
  static HWY_INLINE V apply(D, V x) {
    return hn::Mul(x, x);
  }
  template <typename T>
  static T apply(T x) {
    return Mul::apply(x, x);
  }
};

struct Sqrt {
  template <class D, class V>
  static HWY_INLINE V apply(D, V x) {
    return hn::Sqrt(x);
  }
};

struct Rsqrt {
  template <class D, class V>
  static HWY_INLINE V apply(D d, V x) {
    return hn::Div(hn::Set(d, hn::TFromD<D>{1}), hn::Sqrt(x));
  }
};

/// By squaring. A negative exponent gives the quotient 1 / base^-exponent truncated toward zero, and 0 for
/// base 0.
struct IntegerPow {
  template <typename T>
  static T apply(T base, T exponent) {
    if (exponent < 0) {
      if (base == 1) return 1;
      const bool odd = exponent % 2 != 0;
      return base + 1 == 0 ? static_cast<T>(odd ? -1 : 1) : T{0};
    }
    T result = 1;
    for (auto e = static_cast<Bits<T>>(exponent); e != 0; e = static_cast<Bits<T>>(e >> 1)) {
      if (e & 1) result = Mul::apply(result, base);
      base = Mul::apply(base, base);
    }
    return result;
  }
};

struct Equal {
  template <typename T>
  static bool apply(T a, T b) {
    return a == b;
  }
};
struct NotEqual {
  template <typename T>
  static bool apply(T a, T b) {
    return a != b;
  }
};
struct Less {
  template <typename T>
  static bool apply(T a, T b) {
    return a < b;
  }
};
struct LessEqual {
  template <typename T>
  static bool apply(T a, T b) {
    return a <= b;
  }
};
struct Greater {
  template <typename T>
  static bool apply(T a, T b) {
    return a > b;
  }
};
struct GreaterEqual {
  template <typename T>
  static bool apply(T a, T b) {
    return a >= b;
  }
};
struct LogicalAnd {
  template <typename T>
  static bool apply(T a, T b) {
    return (a != T{0}) & (b != T{0});
  }
};
struct LogicalOr {
  template <typename T>
  static bool apply(T a, T b) {
    return (a != T{0}) | (b != T{0});
  }
};
struct LogicalNot {
  template <typename T>
  static bool apply(T x) {
    return x == T{0};
  }
};
struct IsFinite {
  template <typename T>
  static bool apply(T x) {
    return x - x == T{0};
  }  // NaN for NaN and infinities
};
struct True {
  template <typename T>
  static bool apply(T) {
    return true;
  }
};
struct Identity {
  template <typename T>
  static T apply(T x) {
    return x;
  }
};

template <typename T>
void where_tile(const void* condition, const void* pa, const void* pb, void* pout, std::size_t n) {
  const auto* chosen = static_cast<const std::uint8_t*>(condition);
  const T* a = static_cast<const T*>(pa);
  const T* b = static_cast<const T*>(pb);
  T* out = static_cast<T*>(pout);
  for (std::size_t i = 0; i < n; ++i) out[i] = chosen[i] ? a[i] : b[i];
}

template <typename T>
void integer_clamp_tile(const void* px, const void* plow, const void* phigh, void* pout, std::size_t n) {
  const T* x = static_cast<const T*>(px);
  const T* low = static_cast<const T*>(plow);
  const T* high = static_cast<const T*>(phigh);
  T* out = static_cast<T*>(pout);
  for (std::size_t i = 0; i < n; ++i) out[i] = Minimum::apply(Maximum::apply(x[i], low[i]), high[i]);
}

template <typename T, class F, int arity>
constexpr TileFunction same = &element_tile<T, T, F, arity>;
template <typename T, class F, int arity>
constexpr TileFunction test = &element_tile<T, std::uint8_t, F, arity>;

/// All numbers: Floats by vectors, Integers by elements; Bools (of bytes) where given.
template <class F, int arity, class Bools = void, class Integers = F>
constexpr TileOp numeric_op(std::string_view op) {
  TileOp entry = float_op<F, arity>(op);
  entry.functions[2] = same<std::int32_t, Integers, arity>;
  entry.functions[3] = same<std::int64_t, Integers, arity>;
  entry.functions[4] = same<std::uint8_t, Integers, arity>;
  if constexpr (!std::is_void_v<Bools>) entry.functions[5] = same<std::uint8_t, Bools, arity>;
  return entry;
}

/// Of any type, to bool.
template <class F, int arity, class Integers = F>
constexpr TileOp predicate_op(std::string_view op) {
  return {op,
          {test<float, F, arity>, test<double, F, arity>, test<std::int32_t, Integers, arity>,
           test<std::int64_t, Integers, arity>, test<std::uint8_t, Integers, arity>,
           test<std::uint8_t, Integers, arity>}};
}

std::span<const TileOp> arithmetic_tiles() {
  static constexpr TileOp table[] = {
      numeric_op<Add, 2, LogicalOr>("add"),
      numeric_op<Sub, 2>("sub"),
      numeric_op<Mul, 2, LogicalAnd>("mul"),
      float_op<Div, 2>("div"),
      {"pow",
       {nullptr, nullptr, same<std::int32_t, IntegerPow, 2>, same<std::int64_t, IntegerPow, 2>,
        same<std::uint8_t, IntegerPow, 2>}},
      numeric_op<Minimum, 2, LogicalAnd>("minimum"),
      numeric_op<Maximum, 2, LogicalOr>("maximum"),
      numeric_op<Relu, 1>("relu"),
      {"clamp",
       {&vector_tile<float, Clamp, 3>, &vector_tile<double, Clamp, 3>, &integer_clamp_tile<std::int32_t>,
        &integer_clamp_tile<std::int64_t>, &integer_clamp_tile<std::uint8_t>}},
      numeric_op<Neg, 1>("neg"),
      numeric_op<Abs, 1, Identity>("abs"),
      numeric_op<Sign, 1>("sign"),
      numeric_op<Square, 1, Identity>("square"),
      float_op<Sqrt, 1>("sqrt"),
      float_op<Rsqrt, 1>("rsqrt"),
      predicate_op<Equal, 2>("equal"),
      predicate_op<NotEqual, 2>("not_equal"),
      predicate_op<Less, 2>("less"),
      predicate_op<LessEqual, 2>("less_equal"),
      predicate_op<Greater, 2>("greater"),
      predicate_op<GreaterEqual, 2>("greater_equal"),
      predicate_op<LogicalAnd, 2>("logical_and"),
      predicate_op<LogicalOr, 2>("logical_or"),
      predicate_op<LogicalNot, 1>("logical_not"),
      predicate_op<IsFinite, 1, True>("is_finite"),
      {"where",
       {&where_tile<float>, &where_tile<double>, &where_tile<std::int32_t>, &where_tile<std::int64_t>,
        &where_tile<std::uint8_t>, &where_tile<std::uint8_t>}},
  };
  return table;
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace wick
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wick {

HWY_EXPORT(arithmetic_tiles);

std::span<const TileOp> arithmetic_tiles() { return HWY_DYNAMIC_DISPATCH(arithmetic_tiles)(); }

}  // namespace wick
#endif
