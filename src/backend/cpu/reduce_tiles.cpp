#include "backend/cpu/reduce_tiles.h"

#include <algorithm>
#include <limits>
#include <type_traits>

#include "backend/cpu/dispatch.h"
#include "backend/cpu/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/reduce_tiles.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace wick::HWY_NAMESPACE {

// Plain loops over arrays of fixed length: the compiler vectorises them for the instruction set, and the
// order of the additions is the same for all of them.

template <typename T>
struct Sum {
  using Element = T;
  using Block = std::conditional_t<std::is_integral_v<T>, std::uint64_t, T>;  // integers wrap around
  using Total = std::conditional_t<std::is_integral_v<T>, std::uint64_t, double>;
  static constexpr Block start{};
  template <typename A, typename B>
  static HWY_INLINE A apply(A a, B b) {
    return a + static_cast<A>(b);
  }
};

template <typename T>
struct Max {
  using Element = T;
  using Block = T;
  using Total = T;
  static constexpr T start =
      std::is_floating_point_v<T> ? -std::numeric_limits<T>::infinity() : std::numeric_limits<T>::lowest();
  static HWY_INLINE T apply(T a, T b) { return ((b > a) | (b != b)) ? b : a; }
};

template <typename T>
struct Min {
  using Element = T;
  using Block = T;
  using Total = T;
  static constexpr T start =
      std::is_floating_point_v<T> ? std::numeric_limits<T>::infinity() : std::numeric_limits<T>::max();
  static HWY_INLINE T apply(T a, T b) { return ((b < a) | (b != b)) ? b : a; }
};

template <typename R>
void start_totals(void* totals, std::size_t n) {
  std::fill_n(static_cast<typename R::Total*>(totals), n, static_cast<typename R::Total>(R::start));
}

template <typename R>
void start_blocks(void* blocks, std::size_t n) {
  std::fill_n(static_cast<typename R::Block*>(blocks), n, R::start);
}

template <typename R, typename From, typename To>
void apply_each(const void* from, void* to, std::size_t n) {
  const From* const a = static_cast<const From*>(from);
  To* const b = static_cast<To*>(to);
  for (std::size_t i = 0; i < n; ++i) b[i] = R::apply(b[i], a[i]);
}

template <typename R>
void reduce(const void* elements, std::size_t n, void* total) {
  using Block = typename R::Block;
  constexpr std::size_t lanes = 32;
  const auto* x = static_cast<const typename R::Element*>(elements);
  auto result = *static_cast<typename R::Total*>(total);
  for (; n >= lanes;) {
    const std::size_t vectors = std::min(n / lanes, reduce_block);
    Block block[lanes];
    std::fill_n(block, lanes, R::start);
    for (std::size_t v = 0; v < vectors; ++v, x += lanes)
      for (std::size_t i = 0; i < lanes; ++i) block[i] = R::apply(block[i], static_cast<Block>(x[i]));
    for (std::size_t half = lanes / 2; half > 0; half /= 2)
      for (std::size_t i = 0; i < half; ++i) block[i] = R::apply(block[i], block[i + half]);
    result = R::apply(result, static_cast<typename R::Total>(block[0]));
    n -= vectors * lanes;
  }
  for (std::size_t i = 0; i < n; ++i) result = R::apply(result, static_cast<typename R::Total>(x[i]));
  *static_cast<typename R::Total*>(total) = result;
}

template <typename R>
void store(const void* totals, DType dtype, void* out, std::size_t n) {
  const auto* const from = static_cast<const typename R::Total*>(totals);
  visit_dtype(dtype, [&]<typename T>() {
    T* const to = static_cast<T*>(out);
    for (std::size_t i = 0; i < n; ++i) {
      if constexpr (is_narrow_float<T>)
        to[i] = T(static_cast<float>(from[i]));
      else
        to[i] = static_cast<T>(from[i]);
    }
  });
}

template <typename R>
constexpr ReduceTiles tiles_of{sizeof(typename R::Block),
                               sizeof(typename R::Total),
                               start_totals<R>,
                               start_blocks<R>,
                               reduce<R>,
                               apply_each<R, typename R::Element, typename R::Block>,
                               apply_each<R, typename R::Block, typename R::Total>,
                               apply_each<R, typename R::Total, typename R::Total>,
                               store<R>};

template <template <typename> typename R>
const ReduceTiles& tiles_for(DType type) {
  switch (type) {
    case DType::f64: return tiles_of<R<double>>;
    case DType::i32: return tiles_of<R<std::int32_t>>;
    case DType::i64: return tiles_of<R<std::int64_t>>;
    case DType::bool_:
    case DType::u8: return tiles_of<R<std::uint8_t>>;
    default: return tiles_of<R<float>>;
  }
}

const ReduceTiles& FindTiles(std::string_view op, DType type) {
  if (op == "sum") return tiles_for<Sum>(type);
  return op == "max" ? tiles_for<Max>(type) : tiles_for<Min>(type);
}

}  // namespace wick::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wick {

HWY_EXPORT(FindTiles);

const ReduceTiles& reduce_tiles(std::string_view op, DType type) {
  return HWY_DYNAMIC_DISPATCH(FindTiles)(op, type);
}

}  // namespace wick
#endif
