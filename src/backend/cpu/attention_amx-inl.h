// Products of attention on AMX: the same as in attention_tile.cpp and attention_gradient.cpp, of bf16 tiles.
// Weights are rounded to bf16 before they are multiplied with values; sums and the softmax are in f32.
// Included once per Highway target.
#if defined(WICK_ATTENTION_AMX_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef WICK_ATTENTION_AMX_INL_H
#undef WICK_ATTENTION_AMX_INL_H
#else
#define WICK_ATTENTION_AMX_INL_H
#endif

#include <algorithm>
#include <cstring>

#include "backend/cpu/amx.h"
#include "backend/cpu/attention_tile.h"
#include "backend/cpu/float_io-inl.h"

HWY_BEFORE_NAMESPACE();
namespace wick::HWY_NAMESPACE {

using PairVec = hn::Vec<hn::RebindToUnsigned<Float>>;
constexpr hn::RebindToUnsigned<Float> pair_tag{};

/// The upper half of each lane is v rounded to the nearest bf16, to even; NaN stays NaN if a bf16 made it.
HWY_INLINE PairVec rounded_bits(FloatVec v) {
  const PairVec bits = hn::BitCast(pair_tag, v);
  const PairVec odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(pair_tag, 1));
  return hn::Add(bits, hn::Add(odd, hn::Set(pair_tag, 0x7FFF)));
}

/// Lanes of pairs: `first` in the lower half, which lies first in memory.
HWY_INLINE void store_pairs(PairVec first, PairVec second, bfloat16* to) {
  const PairVec pairs = hn::Or(hn::ShiftRight<16>(first), hn::And(second, hn::Set(pair_tag, 0xFFFF0000U)));
  hn::StoreU(pairs, pair_tag, reinterpret_cast<std::uint32_t*>(to));
}

/// A row of d elements, filled up with zeros.
HWY_INLINE void copy_row(const bfloat16* from, std::int64_t step, std::int64_t d, bfloat16* to,
                         std::int64_t padded) {
  if (step == 1)
    std::memcpy(to, from, static_cast<std::size_t>(d) * sizeof(bfloat16));
  else
    for (std::int64_t c = 0; c < d; ++c) to[c] = from[c * step];
  std::fill(to + d, to + padded, bfloat16{});
}

/// Rows of bf16 [queries, d] as pairs along d, [d / 2, queries, 2].
HWY_INLINE void pair_columns(const bfloat16* rows, std::int64_t padded, bfloat16* pairs) {
  for (std::int64_t i = 0; i < attention_tile_rows; ++i)
    for (std::int64_t c = 0; c < padded; c += 2)
      std::memcpy(pairs + c * attention_tile_rows + 2 * i, rows + i * padded + c, 2 * sizeof(bfloat16));
}

/// Rows of bf16 [queries, d] as pairs of queries, [queries / 2, d, 2].
HWY_INLINE void pair_rows(const bfloat16* rows, std::int64_t padded, bfloat16* pairs) {
  for (std::int64_t i = 0; i < attention_tile_rows; i += 2)
    for (std::int64_t c = 0; c < padded; c += lanes)
      store_pairs(hn::BitCast(pair_tag, load(rows + i * padded + c)),
                  hn::BitCast(pair_tag, load(rows + (i + 1) * padded + c)), pairs + i * padded + 2 * c);
}

/// f32 [d, queries] times a factor a query, to rows of bf16 [queries, d].
HWY_INLINE void columns_to_rows(const float* columns, const float* factors, std::int64_t padded,
                                bfloat16* rows) {
  HWY_ALIGN bfloat16 pairs[2 * hn::MaxLanes(f32_tag)];
  for (std::int64_t at = 0; at < attention_tile_rows; at += lanes) {
    const FloatVec factor = load(factors + at);
    for (std::int64_t c = 0; c < padded; c += 2) {
      const float* from = columns + c * attention_tile_rows + at;
      store_pairs(rounded_bits(hn::Mul(load(from), factor)),
                  rounded_bits(hn::Mul(load(from + attention_tile_rows), factor)), pairs);
      for (std::int64_t i = 0; i < lanes; ++i)
        std::memcpy(rows + (at + i) * padded + c, pairs + 2 * i, 2 * sizeof(bfloat16));
    }
  }
}

/// What forward and backward share. All tiles have `attention_tile_rows` rows here, the last ones of zeros.
class AmxProducts {
 public:
  using Element = bfloat16;
  static constexpr std::int64_t row_step = attention_tile_rows;

 protected:
  AmxProducts(const AttentionShape& shape, const AttentionTile& tile)
      : shape_(shape),
        blocks_(shape),
        head_(tile.batch * shape.kv_heads + tile.head / shape.group()),
        rows_(tile.end - tile.begin),
        padded_(shape.padded_d()) {}

  void clear_rows_behind(bfloat16* rows) const {
    std::fill(rows + rows_ * padded_, rows + row_step * padded_, bfloat16{});
  }

  /// out[key, query] of up to a block of keys, from queries in pairs along d.
  void multiply(const bfloat16* rows, std::int64_t key, std::int64_t count, const bfloat16* queries,
                float* out) const {
    amx_.run({.m = amx_padded(count),
              .n = row_step,
              .k = padded_,
              .a_row = padded_,
              .b_row = 2 * row_step,
              .c_row = row_step},
             rows + blocks_.at(head_, key), queries, out);
  }

  void score(const bfloat16* rows, std::int64_t key, std::int64_t count, const bfloat16* queries,
             float* scores) const {
    multiply(rows, key, count, queries, scores);
    const FloatVec scale = hn::Set(f32_tag, shape_.scale);
    for (std::int64_t i = 0; i < count * row_step; i += lanes)
      store(hn::Mul(load(scores + i), scale), scores + i);
  }

  /// sums[d, query] += columns[d, key] weights[key, query], these in pairs of keys.
  void add_columns(const bfloat16* columns, std::int64_t key, std::int64_t count, const bfloat16* weights,
                   float* sums) const {
    amx_.run({.m = padded_,
              .n = row_step,
              .k = amx_padded(count),
              .a_row = attention_tile_keys,
              .b_row = 2 * row_step,
              .c_row = row_step,
              .accumulate = true},
             columns + blocks_.at(head_, key), weights, sums);
  }

  /// sums[key, d] += weights[key, query] queries[query, d], these in pairs of queries.
  void add_rows(const bfloat16* weights, std::int64_t count, const bfloat16* queries, float* sums) const {
    amx_.run({.m = amx_padded(count),
              .n = padded_,
              .k = row_step,
              .a_row = row_step,
              .b_row = 2 * padded_,
              .c_row = padded_,
              .accumulate = true},
             weights, queries, sums);
  }

  /// f32 [keys, queries], scaled, to pairs of keys; to `rows` also row by row. Zeros up to a whole tile.
  void round_weights(const float* weights, std::int64_t count, float scale, bfloat16* pairs,
                     bfloat16* rows) const {
    const FloatVec factor = hn::Set(f32_tag, scale);
    const auto row = [&](std::int64_t j, std::int64_t at) HWY_ATTR {
      return j < count ? hn::Mul(load(weights + j * row_step + at), factor) : hn::Zero(f32_tag);
    };
    for (std::int64_t j = 0; j < amx_padded(count); j += 2)
      for (std::int64_t at = 0; at < row_step; at += lanes) {
        const FloatVec first = row(j, at);
        const FloatVec second = row(j + 1, at);
        if (pairs) store_pairs(rounded_bits(first), rounded_bits(second), pairs + j * row_step + 2 * at);
        if (rows) {
          store(first, rows + j * row_step + at);
          store(second, rows + (j + 1) * row_step + at);
        }
      }
  }

  const AttentionShape& shape_;
  AttentionBlocks blocks_;
  std::int64_t head_;
  std::int64_t rows_;
  std::int64_t padded_;
  AmxTiles amx_;
};

}  // namespace wick::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
