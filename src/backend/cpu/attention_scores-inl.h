// Scores of a tile of queries and keys, and the products around them. Included once per Highway target.
#if defined(WICK_ATTENTION_SCORES_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef WICK_ATTENTION_SCORES_INL_H
#undef WICK_ATTENTION_SCORES_INL_H
#else
#define WICK_ATTENTION_SCORES_INL_H
#endif

#include <limits>

#include "backend/cpu/attention_tile.h"
#include "backend/cpu/float_io-inl.h"

HWY_BEFORE_NAMESPACE();
namespace wick::HWY_NAMESPACE {

constexpr float lowest = -std::numeric_limits<float>::infinity();
/// Vectors that a block of a product holds in registers: 4 rows of them, of 16 or 32 registers.
constexpr int block_vectors = lanes >= 16 ? 4 : 2;

/// A matrix read element by element.
struct Elements {
  const float* data;
  std::int64_t row;
  std::int64_t column;
};

/// c[R, V vectors] (+)= a[R, depth] b[depth, V vectors]; rows of b and c lie `width` apart.
template <int R, int V>
HWY_INLINE void product_block(Elements a, const float* b, float* c, std::int64_t depth, std::int64_t width,
                              bool accumulate) {
  FloatVec sums[R][V];
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) sums[r][v] = accumulate ? load(c + r * width + v * lanes) : hn::Zero(f32_tag);
  for (std::int64_t k = 0; k < depth; ++k) {
    FloatVec row[V];
    for (int v = 0; v < V; ++v) row[v] = load(b + k * width + v * lanes);
    for (int r = 0; r < R; ++r) {
      const FloatVec factor = hn::Set(f32_tag, a.data[r * a.row + k * a.column]);
      for (int v = 0; v < V; ++v) sums[r][v] = hn::MulAdd(factor, row[v], sums[r][v]);
    }
  }
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) store(sums[r][v], c + r * width + v * lanes);
}

template <int R>
HWY_INLINE void product_rows(Elements a, const float* b, float* c, std::int64_t depth, std::int64_t width,
                             bool accumulate) {
  std::int64_t at = 0;
  for (; at + block_vectors * lanes <= width; at += block_vectors * lanes)
    product_block<R, block_vectors>(a, b + at, c + at, depth, width, accumulate);
  for (; at < width; at += lanes) product_block<R, 1>(a, b + at, c + at, depth, width, accumulate);
}

/// c[rows, width] (+)= a[rows, depth] b[depth, width]
HWY_INLINE void product(Elements a, std::int64_t rows, const float* b, float* c, std::int64_t depth,
                        std::int64_t width, bool accumulate) {
  std::int64_t i = 0;
  for (; i + 4 <= rows; i += 4)
    product_rows<4>({a.data + i * a.row, a.row, a.column}, b, c + i * width, depth, width, accumulate);
  for (; i < rows; ++i)
    product_rows<1>({a.data + i * a.row, a.row, a.column}, b, c + i * width, depth, width, accumulate);
}

/// Scores [keys, width] that a query may not see, by position or mask, become -inf; a floating mask is added.
HWY_INLINE void hide_keys(const AttentionShape& shape, const AttentionData& data, const AttentionTile& tile,
                          const VisibleKeys& visible, std::int64_t key, std::int64_t count, float* scores,
                          std::int64_t width) {
  if (key < visible.common.begin || key + count > visible.common.end) {
    const FloatVec hidden = hn::Set(f32_tag, lowest);
    for (std::int64_t at = 0; at < width; at += lanes) {
      HWY_ALIGN float begins[hn::MaxLanes(f32_tag)] = {};
      HWY_ALIGN float ends[hn::MaxLanes(f32_tag)] = {};
      for (std::int64_t i = 0; i < std::min(lanes, tile.end - tile.begin - at); ++i) {
        const KeyRange& keys = visible.rows[at + i];
        begins[i] = static_cast<float>(std::clamp<std::int64_t>(keys.begin - key, 0, count));
        ends[i] = static_cast<float>(std::clamp<std::int64_t>(keys.end - key, 0, count));
      }
      const FloatVec begin = load(begins);
      const FloatVec end = load(ends);
      for (std::int64_t j = 0; j < count; ++j) {
        const FloatVec index = hn::Set(f32_tag, static_cast<float>(j));
        const auto seen = hn::And(hn::Ge(index, begin), hn::Lt(index, end));
        float* score = scores + j * width + at;
        store(hn::IfThenElse(seen, load(score), hidden), score);
      }
    }
  }
  if (shape.has_mask) apply_attention_mask(shape, data, tile, key, count, scores, 1, width);
}

}  // namespace wick::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
