#pragma once

#include "backend/cuda/device/numbers.cuh"

// Compiled by nvcc and at run time: no includes but that. What a reduction does with elements of type T: a
// Total that begins as start(), takes elements and other totals in, and ends as a result.
namespace wick::cuda {

template <bool first, typename A, typename B>
struct ChoiceOf {
  using type = A;
};
template <typename A, typename B>
struct ChoiceOf<false, A, B> {
  using type = B;
};
template <bool first, typename A, typename B>
using Choice = typename ChoiceOf<first, A, B>::type;

/// Floats add up in f64, integers wrap around in 64 bits; booleans and u8 give i64.
template <typename T>
struct SumOf {
  static constexpr bool floats = is_float<Wide<T>>;
  static constexpr bool small = same_type<T, Bool> || same_type<T, unsigned char>;
  using Element = T;
  using Total = Choice<floats, double, unsigned long long>;
  using Result = Choice<small, long long, T>;

  __device__ static Total start() { return 0; }
  __device__ static Total of(Wide<T> value, long long) { return static_cast<Total>(value); }
  __device__ static Total combined(Total a, Total b) { return a + b; }
  /// Neighbours, as they are stored or computed; few enough to be added in f32.
  template <typename P, int width>
  __device__ static Total of_pack(const Pack<P, width>& pack, long long) {
    Wide<T> sums[width];
#pragma unroll
    for (int i = 0; i < width; ++i) sums[i] = read(pack.at[i]);
    if constexpr (floats) {
#pragma unroll
      for (int half = width / 2; half > 0; half /= 2)
#pragma unroll
        for (int i = 0; i < half; ++i) sums[i] += sums[i + half];
      return sums[0];
    } else {
      Total total = 0;
#pragma unroll
      for (int i = 0; i < width; ++i) total += static_cast<Total>(sums[i]);
      return total;
    }
  }
  __device__ static Result result(Total total) {
    if constexpr (floats)
      return written<T>(static_cast<Wide<T>>(total));
    else
      return static_cast<Result>(total);
  }
};

/// Whether b goes before a in the order of a maximum or minimum: NaN beats everything.
template <bool largest, typename W>
__device__ __forceinline__ bool beats(W b, W a) {
  if constexpr (is_float<W>) {
    if (a != a) return false;
    if (b != b) return true;
  }
  return largest ? b > a : b < a;
}

template <bool largest, typename T>
struct ExtremumOf {
  using Element = T;
  using Total = Wide<T>;
  using Result = T;

  __device__ static Total start() {
    if constexpr (is_float<Total>)
      return largest ? -infinity<Total>() : infinity<Total>();
    else
      return largest ? Limits<Total>::low : Limits<Total>::high;
  }
  __device__ static Total of(Wide<T> value, long long) { return value; }
  __device__ static Total combined(Total a, Total b) { return beats<largest>(b, a) ? b : a; }
  template <typename P, int width>
  __device__ static Total of_pack(const Pack<P, width>& pack, long long) {
    Total total = read(pack.at[0]);
#pragma unroll
    for (int i = 1; i < width; ++i) total = combined(total, read(pack.at[i]));
    return total;
  }
  __device__ static Result result(Total total) { return written<T>(total); }
};

/// The first place of the largest (smallest) element.
template <bool largest, typename T>
struct PlaceOf {
  using Element = T;
  struct Total {
    Wide<T> value;
    long long place;  // below 0: of nothing yet
  };
  using Result = long long;

  __device__ static Total start() { return {Wide<T>{}, -1}; }
  __device__ static Total of(Wide<T> value, long long place) { return {value, place}; }
  __device__ static Total combined(Total a, Total b) {
    if (b.place < 0) return a;
    if (a.place < 0 || beats<largest>(b.value, a.value)) return b;
    return beats<largest>(a.value, b.value) || a.place < b.place ? a : b;
  }
  template <typename P, int width>
  __device__ static Total of_pack(const Pack<P, width>& pack, long long place) {
    Wide<T> most = read(pack.at[0]);
    int at = 0;
#pragma unroll
    for (int i = 1; i < width; ++i) {
      const Wide<T> value = read(pack.at[i]);
      if (!beats<largest>(value, most)) continue;
      most = value;
      at = i;
    }
    return of(most, place + at);
  }
  __device__ static Result result(Total total) { return total.place; }
};

}  // namespace wick::cuda
