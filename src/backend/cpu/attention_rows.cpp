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

/// sum[i] = sum[i] scale + weights . rows[:, i]
template <typename T>
void add_weighted(float* sum, float scale, const float* weights, const T* rows, std::int64_t step,
                  std::int64_t count, std::int64_t d) {
  for (std::int64_t i = 0; i < d; i += lanes) {
    const std::int64_t n = std::min(lanes, d - i);
    FloatVec total = hn::Mul(load_some(sum + i, n), hn::Set(f32_tag, scale));
    for (std::int64_t j = 0; j < count; ++j)
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
    for (std::int64_t j = 0; j < count; ++j) {
      const bool visible = key + j >= keys.begin && key + j < keys.end;
      scores[j] = visible ? dot(q, k + j * step, d) : -std::numeric_limits<float>::infinity();
    }
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
    T* out = static_cast<T*>(data.out) + ((at.batch * shape.heads + at.head) * shape.m + at.query) * d;
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
