#pragma once

#include <cstdint>

#include "backend/cuda/rows.cuh"

// Several rows at the same columns, a block for these: all of them in registers, or read as often as needed.
namespace wick::cuda {

/// `width` neighbours as they lie in memory, 32 bits a register: elements that are read under a condition
/// would take a register each.
template <typename T, int width>
struct Words {
  static constexpr int count = static_cast<int>(sizeof(T)) * width / 4;
  unsigned int at[count];

  __device__ float element(int i) const {
    if constexpr (sizeof(T) == 4)
      return __uint_as_float(at[i]);
    else
      return read(T{static_cast<unsigned short>(at[i / 2] >> (i % 2 * 16))});
  }
};

/// From an aligned address, where they are there.
template <int width, typename T>
__device__ __forceinline__ Words<T, width> words_if(bool there, const T* from) {
  Words<T, width> words = {};
  if (!there) return words;
#pragma unroll
  for (int i = 0; i < words.count; i += 4) {
    const uint4 four = *reinterpret_cast<const uint4*>(from + i * width / words.count);
    words.at[i] = four.x;
    words.at[i + 1] = four.y;
    words.at[i + 2] = four.z;
    words.at[i + 3] = four.w;
  }
  return words;
}

/// The columns that a thread has of rows with n elements of type T, a multiple of row_width, at aligned
/// addresses: so many packs of row_width. Rows that `of` is called for before anything is stored are all
/// asked for before one is waited for. In place of what `of` gave, functions take an address, which is read
/// then.
template <typename T, int packs>
class HeldColumns {
 public:
  static constexpr int width = row_width<T>;
  static constexpr std::int64_t of_thread = packs * width;

  template <typename U>
  struct Held {
    Words<U, width> pack[packs];
  };

  __device__ explicit HeldColumns(int n) : n_(n) {}

  /// Those of a row of any type; zeros where `row` is null.
  template <typename U>
  __device__ Held<U> of(const U* row) const {
    Held<U> held;
#pragma unroll
    for (int p = 0; p < packs; ++p) held.pack[p] = words_if<width>(row && place(p) < n_, row + place(p));
    return held;
  }

  /// The same of a parameter, but its address where it would take twice the registers of a row.
  template <typename U>
  __device__ auto parameter(const U* row) const {
    if constexpr (sizeof(U) > sizeof(T))
      return row;
    else
      return of(row);
  }

  /// x + y as elements of type T, which go to `sum`, too.
  __device__ Held<T> sum(const Held<T>& x, const Held<T>& y, T* sum) const {
    Held<T> held;
#pragma unroll
    for (int p = 0; p < packs; ++p) {
      const Pack<T, width> made = made_of(
          p, [](float a, float b) { return a + b; }, x, y);
      if (place(p) < n_) store_pack(sum + place(p), made);
      memcpy(&held.pack[p], &made, sizeof(made));
    }
    return held;
  }

  /// f(elements...) in each column.
  template <typename F, typename... H>
  __device__ void each(const F& f, const H&... rows) const {
#pragma unroll
    for (int p = 0; p < packs; ++p)
      if (place(p) < n_) visit(f, words_at(p, rows)...);
  }

  /// out[column] = f(elements...)
  template <typename F, typename... H>
  __device__ void write(T* out, const F& f, const H&... rows) const {
#pragma unroll
    for (int p = 0; p < packs; ++p)
      if (place(p) < n_) store_pack(out + place(p), made_of(p, f, rows...));
  }

 private:
  __device__ int place(int p) const {
    return (p * static_cast<int>(blockDim.x) + static_cast<int>(threadIdx.x)) * width;
  }
  template <typename F, typename... W>
  __device__ static void visit(const F& f, const W&... words) {
#pragma unroll
    for (int j = 0; j < width; ++j) f(words.element(j)...);
  }
  template <typename F, typename... H>
  __device__ Pack<T, width> made_of(int p, const F& f, const H&... rows) const {
    return made_from(f, words_at(p, rows)...);
  }
  template <typename F, typename... W>
  __device__ static Pack<T, width> made_from(const F& f, const W&... words) {
    Pack<T, width> made;
#pragma unroll
    for (int j = 0; j < width; ++j) made.at[j] = written<T>(f(words.element(j)...));
    return made;
  }
  template <typename U>
  __device__ static const Words<U, width>& words_at(int p, const Held<U>& held) {
    return held.pack[p];
  }
  template <typename U>
  __device__ Words<U, width> words_at(int p, const U* row) const {
    return words_if<width>(row && place(p) < n_, row + place(p));
  }

  int n_;
};

/// The same of any rows, which each call reads again.
template <typename T>
class MemoryColumns {
 public:
  __device__ explicit MemoryColumns(int n) : n_(n) {}

  template <typename U>
  __device__ const U* of(const U* row) const {
    return row;
  }
  template <typename U>
  __device__ const U* parameter(const U* row) const {
    return row;
  }
  __device__ const T* sum(const T* x, const T* y, T* sum) const {
    write(
        sum, [](float a, float b) { return a + b; }, x, y);
    return sum;  // each thread reads what it wrote
  }
  template <typename F, typename... P>
  __device__ void each(const F& f, const P*... rows) const {
    for (int i = static_cast<int>(threadIdx.x); i < n_; i += static_cast<int>(blockDim.x))
      f((rows ? read(rows[i]) : 0.0f)...);
  }
  template <typename F, typename... P>
  __device__ void write(T* out, const F& f, const P*... rows) const {
    for (int i = static_cast<int>(threadIdx.x); i < n_; i += static_cast<int>(blockDim.x))
      out[i] = written<T>(f((rows ? read(rows[i]) : 0.0f)...));
  }

 private:
  int n_;
};

}  // namespace wick::cuda
