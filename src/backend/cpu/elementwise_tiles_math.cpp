#include <cmath>
#include <limits>

#include "backend/cpu/elementwise_tiles.h"
#include "backend/cpu/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/elementwise_tiles_math.cpp"
#include <hwy/foreach_target.h>

#include "backend/cpu/elementwise_loops-inl.h"
#include "hwy/contrib/math/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace wick {
namespace HWY_NAMESPACE {
namespace {

template <class D>
using Element = hn::TFromD<D>;

template <class D>
HWY_INLINE hn::Vec<D> number(D d, double value) {
  return hn::Set(d, static_cast<Element<D>>(value));
}

/// f of each lane of which `mask` holds.
template <class D, class V, class M>
HWY_NOINLINE V lanes_where(D d, M mask, V x, V otherwise, Element<D> (*f)(Element<D>)) {
  constexpr std::size_t lanes = hn::MaxLanes(D());
  HWY_ALIGN Element<D> values[lanes];
  hn::Store(x, d, values);
  for (std::size_t i = 0; i < lanes; ++i) values[i] = f(values[i]);
  return hn::IfThenElse(mask, hn::Load(d, values), otherwise);
}

// Highway's functions are good to 1 to 4 units in the last place on their ranges; what follows adds the rest
// of the number line, infinities and NaN.

struct Exp {
  template <class D, class V>
  static HWY_INLINE V apply(D d, V x) {
    constexpr bool single = sizeof(Element<D>) == 4;
    // Beyond these limits the result is 0 or infinite, and Highway's integer exponents stay in range.
    const V limited = hn::Min(hn::Max(x, number(d, single ? -105 : -750)), number(d, single ? 90 : 711));
    return hn::IfThenElse(hn::IsNaN(x), x, hn::Exp(d, limited));
  }
};

/// Horner's rule, highest coefficient last.
template <class D, class V, std::size_t count>
HWY_INLINE V polynomial(D d, V x, const double (&coefficients)[count]) {
  V sum = number(d, coefficients[count - 1]);
  for (std::size_t i = count - 1; i-- > 0;) sum = hn::MulAdd(sum, x, number(d, coefficients[i]));
  return sum;
}

/// exp where 1 is added to it, which does not notice what is below e^-86: 0 here. In f32 by the polynomial of
/// degree 6 that is closest to 2^f for f in [-1/2, 1/2] (2e-9 relative).
struct ExpBesideOne {
  template <class D, class V>
  static HWY_INLINE V apply_single(D d, V x) {
    static constexpr double power_of_two[] = {
        1.0, 6.931472028e-1, 2.402264791e-1, 5.550332548e-2, 9.618437357e-3, 1.339887440e-3, 1.535336188e-4};
    const hn::RebindToSigned<D> integers;
    const V to_integer =
        number(d, 12582912);  // 1.5 2^23: adding it leaves the nearest integer in the low bits
    const V log2e = number(d, 1.44269504);
    const V shifted = hn::MulAdd(x, log2e, to_integer);
    const V f = hn::MulAdd(x, number(d, 1.92596299e-8), hn::MulSub(x, log2e, hn::Sub(shifted, to_integer)));
    const V p = polynomial(d, f, power_of_two);
    // Half of 2^n, for 2^128 is no float.
    const V half_power = hn::BitCast(
        d, hn::Add(hn::ShiftLeft<23>(hn::BitCast(integers, shifted)), hn::Set(integers, 126 << 23)));
    const V inside = hn::IfThenZeroElse(hn::Lt(x, number(d, -86)), hn::Mul(hn::Add(p, p), half_power));
    const V infinity = number(d, std::numeric_limits<double>::infinity());
    return hn::IfThenElse(hn::Gt(x, number(d, 88.7228)), infinity, inside);
  }
  template <class D, class V>
  static HWY_INLINE V apply(D d, V x) {
    if constexpr (sizeof(Element<D>) == 4)
      return apply_single(d, x);
    else
      return Exp::apply(d, x);
  }
};

struct Log {
  template <class D, class V>
  static HWY_INLINE V apply(D d, V x) {
    using T = Element<D>;
    const V zero = hn::Zero(d);
    const V infinity = number(d, std::numeric_limits<double>::infinity());
    const V nan = hn::Set(d, std::numeric_limits<T>::quiet_NaN());
    const V inside = hn::Log(d, x);
    const V above = hn::IfThenElse(hn::Lt(x, infinity), inside, x);  // infinity and NaN stay
    return hn::IfThenElse(hn::Lt(x, zero), nan, hn::IfThenElse(hn::Eq(x, zero), hn::Neg(infinity), above));
  }
};

/// Where Highway's argument reduction of sine and cosine ends.
template <class D, class V>
HWY_INLINE auto beyond_reduction(D d, V x) {
  return hn::Not(hn::Lt(hn::Abs(x), number(d, 39000)));
}

struct Sin {
  template <class D, class V>
  static HWY_INLINE V apply(D d, V x) {
    const auto beyond = beyond_reduction(d, x);
    const V inside = hn::Sin(d, hn::IfThenZeroElse(beyond, x));
    if (HWY_LIKELY(hn::AllFalse(d, beyond))) return inside;
    return lanes_where(
        d, beyond, x, inside, +[](Element<D> v) { return std::sin(v); });
  }
};

struct Cos {
  template <class D, class V>
  static HWY_INLINE V apply(D d, V x) {
    const auto beyond = beyond_reduction(d, x);
    const V inside = hn::Cos(d, hn::IfThenZeroElse(beyond, x));
    if (HWY_LIKELY(hn::AllFalse(d, beyond))) return inside;
    return lanes_where(
        d, beyond, x, inside, +[](Element<D> v) { return std::cos(v); });
  }
};

struct Tanh {
  template <class D, class V>
  static HWY_INLINE V apply(D d, V x) {
    // tanh is 1 to the last bit beyond 20.
    const V limited = hn::Min(hn::Max(x, number(d, -20)), number(d, 20));
    return hn::IfThenElse(hn::IsNaN(x), x, hn::Tanh(d, limited));
  }
};

struct Sigmoid {
  template <class D, class V>
  static HWY_INLINE V apply(D d, V x) {
    const V one = number(d, 1);
    return hn::Div(one, hn::Add(one, ExpBesideOne::apply(d, hn::Neg(x))));
  }
};

struct Silu {
  template <class D, class V>
  static HWY_INLINE V apply(D d, V x) {
    return hn::Div(x, hn::Add(number(d, 1), ExpBesideOne::apply(d, hn::Neg(x))));
  }
};

struct Erf {
  /// Minimax fits made for this file, 7e-8 relative: erf(x) / x - 1 in x^2 up to 1, and -log(1 - erf(x)) from
  /// 1 to 4.
  template <class D, class V>
  static HWY_INLINE V apply_single(D d, V x) {
    static constexpr double near_zero[] = {0.128379166,   -0.37612626,     0.112835854,   -0.0268538166,
                                           0.00518833473, -0.000801024784, 7.85402663e-05};
    static constexpr double tail[] = {0.000341512583, 1.12708926,    0.638144732,    0.103106819,
                                      -0.0218380969,  0.00294766668, -0.000186380086};
    const V one = number(d, 1);
    const V magnitude = hn::Min(hn::Abs(x), number(d, 4));
    const V small = hn::MulAdd(polynomial(d, hn::Mul(x, x), near_zero), x, x);
    const V large = hn::Sub(one, ExpBesideOne::apply(d, hn::Neg(polynomial(d, magnitude, tail))));
    const V result = hn::IfThenElse(hn::Le(magnitude, one), small, hn::CopySign(large, x));
    return hn::IfThenElse(hn::IsNaN(x), x, result);
  }
  template <class D, class V>
  static HWY_INLINE V apply(D d, V x) {
    if constexpr (sizeof(Element<D>) == 4)
      return apply_single(d, x);
    else
      return lanes_where(
          d, hn::Eq(x, x), x, x, +[](Element<D> v) { return std::erf(v); });
  }
};

struct Gelu {
  template <class D, class V>
  static HWY_INLINE V apply(D d, V x) {
    const V twice_cdf = hn::Add(Erf::apply(d, hn::Mul(x, number(d, 0.70710678118654752440))), number(d, 1));
    return hn::Mul(hn::Mul(x, number(d, 0.5)), twice_cdf);
  }
};

/// 0.5 (1 + tanh(u)) is sigmoid(2 u), without the cancellation for negative u.
struct GeluTanh {
  template <class D, class V>
  static HWY_INLINE V apply(D d, V x) {
    constexpr double twice_scale = 1.5957691216057307117;  // 2 sqrt(2 / pi)
    const V cubic = hn::MulAdd(hn::Mul(x, x), number(d, 0.044715), number(d, 1));
    return hn::Mul(x, Sigmoid::apply(d, hn::Mul(hn::Mul(x, number(d, twice_scale)), cubic)));
  }
};

struct Pow {
  template <typename T>
  static T apply(T base, T exponent) {
    return std::pow(base, exponent);
  }
};

std::span<const TileOp> math_tiles() {
  static constexpr TileOp table[] = {
      float_op<Exp, 1>("exp"),
      float_op<Log, 1>("log"),
      float_op<Sin, 1>("sin"),
      float_op<Cos, 1>("cos"),
      float_op<Tanh, 1>("tanh"),
      float_op<Sigmoid, 1>("sigmoid"),
      float_op<Silu, 1>("silu"),
      float_op<Erf, 1>("erf"),
      float_op<Gelu, 1>("gelu"),
      float_op<GeluTanh, 1>("gelu_tanh"),
      {"pow", {&element_tile<float, float, Pow, 2>, &element_tile<double, double, Pow, 2>}},
  };
  return table;
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace wick
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wick {

HWY_EXPORT(math_tiles);

std::span<const TileOp> math_tiles() { return HWY_DYNAMIC_DISPATCH(math_tiles)(); }

}  // namespace wick
#endif
