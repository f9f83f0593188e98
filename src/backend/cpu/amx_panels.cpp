#include "backend/cpu/amx_panels.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "backend/cpu/amx.h"

#if defined(__x86_64__) && defined(__linux__)

#if !defined(__clang__)
#pragma GCC diagnostic ignored \
    "-Wmaybe-uninitialized"  // in gcc's header: what it leaves undefined on purpose
#endif
#include <immintrin.h>

// Who has AMX for bf16 has these.
#define WICK_AVX512 __attribute__((target("avx512f,avx512bw,avx512bf16")))

namespace wick {
namespace {

constexpr std::int64_t half = amx_step / 2;

/// The first `count` of a row of `amx_step` elements, or none.
WICK_AVX512 __mmask32 first_of(std::int64_t count) {
  return count <= 0 ? 0 : ~__mmask32{0} >> (amx_step - std::min(count, amx_step));
}

}  // namespace

WICK_AVX512 void amx_pair_rows(const bfloat16* from, std::int64_t row, std::int64_t rows,
                               std::int64_t columns, std::int64_t depth, bfloat16* to) {
  alignas(64) static constexpr auto indices = [] {
    std::array<std::uint16_t, 64> result{};
    for (std::size_t i = 0; i < 32; ++i) {
      result[2 * i] = static_cast<std::uint16_t>(i);
      result[2 * i + 1] = static_cast<std::uint16_t>(32 + i);
    }
    return result;
  }();
  const __m512i lower = _mm512_load_si512(indices.data());
  const __m512i upper = _mm512_load_si512(indices.data() + 32);
  const __mmask32 there = first_of(columns);
  const auto load = [&](std::int64_t i) WICK_AVX512 {
    return _mm512_maskz_loadu_epi16(i < rows ? there : 0, from + i * row);
  };
  for (std::int64_t i = 0; i < depth; i += 2, to += 2 * amx_step) {
    const __m512i first = load(i);
    const __m512i second = load(i + 1);
    _mm512_storeu_si512(to, _mm512_permutex2var_epi16(first, lower, second));
    _mm512_storeu_si512(to + amx_step, _mm512_permutex2var_epi16(first, upper, second));
  }
}

namespace {

/// Transposes 16 x 16 words of 32 bits.
WICK_AVX512 void transpose(__m512i (&v)[16]) {
  __m512i t[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(v[i], v[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(v[i], v[i + 1]);
  }
  // Of rows i to i + 3: column 4 l + j of lane l in v[i + j].
  for (int i = 0; i < 16; i += 4) {
    v[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    v[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    v[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    v[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  for (int j = 0; j < 4; ++j) {
    const __m512i even_upper = _mm512_shuffle_i32x4(v[j], v[j + 4], 0x88);  // lanes 0 and 2
    const __m512i odd_upper = _mm512_shuffle_i32x4(v[j], v[j + 4], 0xdd);   // lanes 1 and 3
    const __m512i even_lower = _mm512_shuffle_i32x4(v[j + 8], v[j + 12], 0x88);
    const __m512i odd_lower = _mm512_shuffle_i32x4(v[j + 8], v[j + 12], 0xdd);
    t[j] = _mm512_shuffle_i32x4(even_upper, even_lower, 0x88);
    t[j + 4] = _mm512_shuffle_i32x4(odd_upper, odd_lower, 0x88);
    t[j + 8] = _mm512_shuffle_i32x4(even_upper, even_lower, 0xdd);
    t[j + 12] = _mm512_shuffle_i32x4(odd_upper, odd_lower, 0xdd);
  }
  for (int i = 0; i < 16; ++i) v[i] = t[i];
}

}  // namespace

WICK_AVX512 void amx_pair_columns(const bfloat16* from, std::int64_t column, std::int64_t rows,
                                  std::int64_t columns, std::int64_t depth, bfloat16* to) {
  for (std::int64_t first = 0; first < depth; first += amx_step) {
    const __mmask32 there = first_of(rows - first);
    for (std::int64_t left = 0; left < amx_step; left += half) {
      __m512i words[half];
      for (std::int64_t j = 0; j < half; ++j)
        words[j] =
            _mm512_maskz_loadu_epi16(left + j < columns ? there : 0, from + (left + j) * column + first);
      transpose(words);
      for (std::int64_t i = 0; i < half; ++i)
        _mm512_storeu_si512(to + (first + 2 * i) * amx_step + 2 * left, words[i]);
    }
  }
}

namespace {

WICK_AVX512 __m512 load_c(const float* c, __mmask32 there) {
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>(there), c);
}
WICK_AVX512 __m512 load_c(const bfloat16* c, __mmask32 there) {
  const __m512i bits = _mm512_maskz_loadu_epi16(there & 0xFFFF, c);
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_castsi512_si256(bits)), 16));
}
WICK_AVX512 void store_c(__m512 lower, __m512 upper, float* c, __mmask32 there) {
  _mm512_mask_storeu_ps(c, static_cast<__mmask16>(there), lower);
  if (there >> half != 0) _mm512_mask_storeu_ps(c + half, static_cast<__mmask16>(there >> half), upper);
}
WICK_AVX512 void store_c(__m512 lower, __m512 upper, bfloat16* c, __mmask32 there) {
  const __m512bh both = _mm512_cvtne2ps_pbh(upper, lower);
  __m512i bits;
  std::memcpy(&bits, &both, sizeof(bits));
  _mm512_mask_storeu_epi16(c, there, bits);
}

WICK_AVX512 __m512 combine(Combination combination, __m512 a, __m512 b) {
  return combination == Combination::add ? _mm512_add_ps(a, b) : _mm512_mul_ps(a, b);
}

template <typename C>
WICK_AVX512 void finish_as(const AmxFinish& finish, const float* sums, const float* bias, const C* combined,
                           C* c, std::int64_t c_row, std::int64_t rows, std::int64_t columns) {
  const __mmask32 there = first_of(columns);
  const __m512 scale = _mm512_set1_ps(finish.scale);
  const __m512 lower_bias = bias ? load_c(bias, there) : _mm512_setzero_ps();
  const __m512 upper_bias =
      bias && there >> half != 0 ? load_c(bias + half, there >> half) : _mm512_setzero_ps();
  for (std::int64_t i = 0; i < rows; ++i, sums += amx_step, c += c_row) {
    __m512 lower = _mm512_mul_ps(_mm512_add_ps(_mm512_loadu_ps(sums), lower_bias), scale);
    __m512 upper = _mm512_mul_ps(_mm512_add_ps(_mm512_loadu_ps(sums + half), upper_bias), scale);
    if (finish.accumulate) {
      lower = _mm512_add_ps(lower, load_c(c, there));
      if (there >> half != 0) upper = _mm512_add_ps(upper, load_c(c + half, there >> half));
    }
    if (combined) {
      lower = combine(finish.combination, lower, load_c(combined, there));
      if (there >> half != 0)
        upper = combine(finish.combination, upper, load_c(combined + half, there >> half));
      combined += c_row;
    }
    store_c(lower, upper, c, there);
  }
}

}  // namespace

void amx_finish(const AmxFinish& finish, const float* sums, const float* bias, const void* combined, void* c,
                std::int64_t c_row, std::int64_t rows, std::int64_t columns) {
  if (finish.c == DType::bf16)
    finish_as(finish, sums, bias, static_cast<const bfloat16*>(combined), static_cast<bfloat16*>(c), c_row,
              rows, columns);
  else
    finish_as(finish, sums, bias, static_cast<const float*>(combined), static_cast<float*>(c), c_row, rows,
              columns);
}

}  // namespace wick

#else

namespace wick {

void amx_pair_rows(const bfloat16*, std::int64_t, std::int64_t, std::int64_t, std::int64_t, bfloat16*) {}
void amx_pair_columns(const bfloat16*, std::int64_t, std::int64_t, std::int64_t, std::int64_t, bfloat16*) {}
void amx_finish(const AmxFinish&, const float*, const float*, const void*, void*, std::int64_t, std::int64_t,
                std::int64_t) {}

}  // namespace wick

#endif
