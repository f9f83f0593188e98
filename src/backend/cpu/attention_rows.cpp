#include <algorithm>
#include <limits>

#include "backend/cpu/attention_tile.h"
#include "backend/cpu/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/attention_rows.cpp"
#include <hwy/foreach_target.h>

#include "backend/cpu/float_io-inl.h"

HWY_BEFORE_NAMESPACE();
namespace wick::HWY_NAMESPACE {

template <typename T>
HWY_INLINE FloatVec load_some_of(const T* p, std::int64_t n) {
  return n >= lanes ? load(p) : load_first(p, n, 0.0f);
}

template <typename T>
float dot(const float* a, const T* b, std::int64_t count) {
  FloatVec sum = hn::Zero(f32_tag);
  for (std::int64_t i = 0; i < count; i += lanes)
    sum = hn::MulAdd(load_some(a + i, count - i), load_some_of(b + i, count - i), sum);
  return sum_of(sum);
}

/// Whether rows of `d` elements, one behind the other, fill vectors without a rest: those are read several
/// rows a vector, or several vectors a row.
constexpr bool fills_vectors(std::int64_t d) {
  return lanes > 1 && d > 1 && (lanes % d == 0 || d % lanes == 0);
}

/// Products of q with `lanes` keys that lie one behind the other, in order. Vectors of partial sums are
/// merged pairwise until each lane is a key's sum: a sum over lanes for each key would cost more than the
/// products.
template <typename T>
HWY_INLINE FloatVec dot_keys(const float* q, const T* k, std::int64_t d) {
  FloatVec part[hn::MaxLanes(f32_tag)];
  const std::int64_t parts = std::min(d, lanes);
  if (d < lanes) {
    HWY_ALIGN float repeated[hn::MaxLanes(f32_tag)];
    for (std::int64_t i = 0; i < lanes; ++i) repeated[i] = q[i % d];
    const FloatVec many_q = load(repeated);
    for (std::int64_t i = 0; i < parts; ++i) part[i] = hn::Mul(many_q, load(k + i * lanes));
  } else {
    for (std::int64_t i = 0; i < parts; ++i) {
      part[i] = hn::Mul(load(q), load(k + i * d));
      for (std::int64_t c = lanes; c < d; c += lanes)
        part[i] = hn::MulAdd(load(q + c), load(k + i * d + c), part[i]);
    }
  }
#if HWY_TARGET != HWY_SCALAR  // which has one lane, and nothing to merge
  for (std::int64_t left = parts / 2; left > 0; left /= 2)
    for (std::int64_t i = 0; i < left; ++i)
      part[i] = hn::Add(hn::ConcatEven(f32_tag, part[2 * i + 1], part[2 * i]),
                        hn::ConcatOdd(f32_tag, part[2 * i + 1], part[2 * i]));
#endif
  return part[0];
}

/// Adds weights . rows to `sum` for as many of the `count` rows as fill vectors; returns their number. Rows
/// of d < lanes elements lie one behind the other.
template <typename T>
HWY_INLINE std::int64_t add_weighted_short(float* sum, const float* weights, const T* rows,
                                           std::int64_t count, std::int64_t d) {
  const hn::RebindToSigned<Float> integers;
  const std::int64_t rows_a_vector = lanes / d;
  HWY_ALIGN std::int32_t row_of_lane[hn::MaxLanes(f32_tag)];
  for (std::int64_t i = 0; i < lanes; ++i) row_of_lane[i] = static_cast<std::int32_t>(i / d);
  const auto first_rows = hn::Load(integers, row_of_lane);
  FloatVec total = hn::Zero(f32_tag);
  std::int64_t j = 0;
  for (; j + lanes <= count; j += lanes) {
    const FloatVec some_weights = load(weights + j);
    for (std::int64_t r = 0; r < lanes; r += rows_a_vector) {
      const auto index = hn::Add(first_rows, hn::Set(integers, static_cast<std::int32_t>(r)));
      const FloatVec w = hn::TableLookupLanes(some_weights, hn::IndicesFromVec(f32_tag, index));
      total = hn::MulAdd(w, load(rows + (j + r) * d), total);
    }
  }
  HWY_ALIGN float parts[hn::MaxLanes(f32_tag)];
  store(total, parts);
  for (std::int64_t i = 0; i < lanes; ++i) sum[i % d] += parts[i];
  return j;
}

/// sum += weights . rows for `columns` vectors of columns: one alone would wait for each of its additions.
template <int columns, typename T>
HWY_INLINE void add_weighted_columns(float* sum, const float* weights, const T* rows, std::int64_t step,
                                     std::int64_t count) {
  FloatVec totals[columns];
  for (int i = 0; i < columns; ++i) totals[i] = load(sum + i * lanes);
  for (std::int64_t j = 0; j < count; ++j) {
    const FloatVec weight = hn::Set(f32_tag, weights[j]);
    for (int i = 0; i < columns; ++i)
      totals[i] = hn::MulAdd(weight, load(rows + j * step + i * lanes), totals[i]);
  }
  for (int i = 0; i < columns; ++i) store(totals[i], sum + i * lanes);
}

/// sum[i] = sum[i] scale + weights . rows[:, i]
template <typename T>
void add_weighted(float* sum, float scale, const float* weights, const T* rows, std::int64_t step,
                  std::int64_t count, std::int64_t d) {
  for (std::int64_t i = 0; i < d; ++i) sum[i] *= scale;
  std::int64_t done = 0;
  if (step == d && d < lanes && fills_vectors(d)) done = add_weighted_short(sum, weights, rows, count, d);
  std::int64_t i = 0;
  for (; i + 4 * lanes <= d; i += 4 * lanes)
    add_weighted_columns<4>(sum + i, weights + done, rows + done * step + i, step, count - done);
  for (; i < d; i += lanes) {
    const std::int64_t n = std::min(lanes, d - i);
    FloatVec total = load_some(sum + i, n);
    for (std::int64_t j = done; j < count; ++j)
      total = hn::MulAdd(hn::Set(f32_tag, weights[j]), load_some_of(rows + j * step + i, n), total);
    store_first(total, sum + i, n);
  }
}

/// One row's running softmax. Rows take turns over each tile of keys, so that k and v are read from memory
/// once.
template <typename T>
struct Row {
  const float* q;
  float* sum;
  float* scores;
  KeyRange keys;
  float largest = -std::numeric_limits<float>::infinity();
  float total = 0;

  void score(const T* k, std::int64_t step, std::int64_t key, std::int64_t count, std::int64_t d) {
    const std::int64_t begin = std::clamp(keys.begin - key, std::int64_t{0}, count);
    const std::int64_t end = std::clamp(keys.end - key, begin, count);
    std::fill(scores, scores + begin, -std::numeric_limits<float>::infinity());
    std::fill(scores + end, scores + count, -std::numeric_limits<float>::infinity());
    std::int64_t j = begin;
    if (step == d && fills_vectors(d))
      for (; j + lanes <= end; j += lanes) store(dot_keys(q, k + j * d, d), scores + j);
    for (; j < end; ++j) scores[j] = dot(q, k + j * step, d);
  }

  /// Scores become weights; returns the factor for what was summed before.
  float weigh(std::int64_t count) {
    constexpr float lowest = -std::numeric_limits<float>::infinity();
    FloatVec top = hn::Set(f32_tag, largest);
    for_each_vector(scores, count, lowest, [&](FloatVec v) HWY_ATTR { top = hn::Max(top, v); });
    const float before = largest;
    largest = max_of(top);
    const float shift = largest == lowest ? 0.0f : largest;
    FloatVec weights = hn::Zero(f32_tag);
    for (std::int64_t j = 0; j < count; j += lanes) {
      const std::int64_t n = std::min(lanes, count - j);
      const FloatVec w = exp_vec(hn::Sub(n == lanes ? load(scores + j) : load_first(scores + j, n, lowest),
                                         hn::Set(f32_tag, shift)));
      store_first(w, scores + j, n);
      weights = hn::Add(weights, w);
    }
    const float correction = hn::GetLane(exp_vec(hn::Set(f32_tag, before - shift)));
    total = total * correction + sum_of(weights);
    return correction;
  }
};

template <typename T>
void run_rows(const AttentionShape& shape, const AttentionData& data, const AttentionTile& tile,
              float* scratch) {
  const std::int64_t count = tile.end - tile.begin;
  const std::int64_t d = shape.d;
  float* scores = scratch;
  Row<T> rows[attention_few_rows];
  KeyRange all{shape.n, 0};
  for (std::int64_t r = 0; r < count; ++r) {
    const AttentionRow at(shape, tile, tile.begin + r);
    float* q = scratch + (attention_few_rows * attention_tile_keys) + r * 2 * d;
    float* sum = q + d;
    const T* from = static_cast<const T*>(data.q) + at.offset(shape.q);
    for (std::int64_t c = 0; c < d; ++c) q[c] = static_cast<float>(from[c * shape.q[3]]) * shape.scale;
    std::fill_n(sum, d, 0.0f);
    const KeyRange keys = visible_keys(shape, data.offset + at.query);
    rows[r] = {q, sum, scores + r * attention_tile_keys, keys};
    if (keys.begin < keys.end) all = {std::min(all.begin, keys.begin), std::max(all.end, keys.end)};
  }

  const std::int64_t kv_head = tile.head / shape.group();
  const T* k = static_cast<const T*>(data.k) + tile.batch * shape.k[0] + kv_head * shape.k[1];
  const T* v = static_cast<const T*>(data.v) + tile.batch * shape.v[0] + kv_head * shape.v[1];
  for (std::int64_t key = all.begin; key < all.end; key += attention_tile_keys) {
    const std::int64_t keys = std::min(attention_tile_keys, all.end - key);
    for (std::int64_t r = 0; r < count; ++r) rows[r].score(k + key * shape.k[2], shape.k[2], key, keys, d);
    if (shape.has_mask) apply_attention_mask(shape, data, tile, key, keys, scores, attention_tile_keys, 1);
    for (std::int64_t r = 0; r < count; ++r) {
      const float correction = rows[r].weigh(keys);
      add_weighted(rows[r].sum, correction, rows[r].scores, v + key * shape.v[2], shape.v[2], keys, d);
    }
  }

  for (std::int64_t r = 0; r < count; ++r) {
    const AttentionRow at(shape, tile, tile.begin + r);
    T* out = static_cast<T*>(data.out) + at.offset(shape.out);
    const FloatVec scale = hn::Set(f32_tag, rows[r].total == 0 ? 0.0f : 1.0f / rows[r].total);
    for (std::int64_t c = 0; c < d; c += lanes)
      store_first(hn::Mul(load_some(rows[r].sum + c, d - c), scale), out + c, std::min(lanes, d - c));
  }
}

void RunRows(const AttentionShape& shape, const AttentionData& data, const AttentionTile& tile,
             float* scratch) {
  if (shape.dtype == DType::bf16)
    run_rows<bfloat16>(shape, data, tile, scratch);
  else if (shape.dtype == DType::f16)
    run_rows<float16>(shape, data, tile, scratch);
  else
    run_rows<float>(shape, data, tile, scratch);
}

}  // namespace wick::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wick {

HWY_EXPORT(RunRows);

void run_attention_rows(const AttentionShape& shape, const AttentionData& data, const AttentionTile& tile,
                        float* scratch) {
  HWY_DYNAMIC_DISPATCH(RunRows)(shape, data, tile, scratch);
}

}  // namespace wick
#endif
