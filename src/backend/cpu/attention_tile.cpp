#include "backend/cpu/attention_tile.h"

#include <limits>

#include "backend/cpu/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/attention_tile.cpp"
#include <hwy/foreach_target.h>

#include "backend/cpu/attention_scores-inl.h"

HWY_BEFORE_NAMESPACE();
namespace wick::HWY_NAMESPACE {

/// Queries lie along the vectors, so that maxima, sums and masks of many queries are plain vector arithmetic.
template <typename T>
class Tile {
 public:
  Tile(const AttentionShape& shape, const AttentionData& data, const AttentionTile& tile, float* scratch)
      : shape_(shape),
        data_(data),
        tile_(tile),
        rows_(tile.end - tile.begin),
        width_((rows_ + lanes - 1) / lanes * lanes) {
    const auto take = [&](std::int64_t floats) {
      float* at = scratch;
      scratch += floats;
      return at;
    };
    largest_ = take(attention_tile_rows);
    sum_ = take(attention_tile_rows);
    begin_ = take(2 * attention_tile_rows);
    scores_ = take(attention_tile_keys * attention_tile_rows);
    queries_ = take(shape.d * attention_tile_rows);
    result_ = take(shape.d * attention_tile_rows);
    wide_ = take(shape.d * attention_tile_keys);
  }

  void run() {
    load_queries();
    std::fill_n(result_, shape_.d * width_, 0.0f);
    std::fill_n(largest_, width_, lowest);
    std::fill_n(sum_, width_, 0.0f);
    for (std::int64_t key = all_.begin; key < all_.end; key += attention_tile_keys)
      add_keys(key, std::min(attention_tile_keys, all_.end - key));
    write();
  }

 private:
  /// Transposes the queries to [d, rows], scaled; finds the keys that any of them sees.
  void load_queries() {
    const T* q = static_cast<const T*>(data_.q);
    all_ = {shape_.n, 0};
    std::fill_n(queries_, shape_.d * width_, 0.0f);
    for (std::int64_t i = 0; i < rows_; ++i) {
      const AttentionRow row(shape_, tile_, tile_.begin + i);
      const T* from = q + row.offset(shape_.q);
      for (std::int64_t c = 0; c < shape_.d; ++c)
        queries_[c * width_ + i] = static_cast<float>(from[c * shape_.q[3]]) * shape_.scale;
      const KeyRange keys = visible_keys(shape_, data_.offset + row.query);
      if (keys.begin < keys.end) all_ = {std::min(all_.begin, keys.begin), std::max(all_.end, keys.end)};
    }
  }

  /// Rows of k or v as f32: in place, or copied.
  Elements keys_of(const void* base, const AttentionSteps& steps, std::int64_t key, std::int64_t count) {
    const T* from = static_cast<const T*>(base) + tile_.batch * steps[0] +
                    tile_.head / shape_.group() * steps[1] + key * steps[2];
    if constexpr (std::is_same_v<T, float>) {
      return {from, steps[2], steps[3]};
    } else {
      for (std::int64_t j = 0; j < count; ++j, from += steps[2]) {
        float* to = wide_ + j * shape_.d;
        std::int64_t c = 0;
        if (steps[3] == 1)
          for (; c + lanes <= shape_.d; c += lanes) store(load(from + c), to + c);
        for (; c < shape_.d; ++c) to[c] = static_cast<float>(from[c * steps[3]]);
      }
      return {wide_, shape_.d, 1};
    }
  }

  void add_keys(std::int64_t key, std::int64_t count) {
    product(keys_of(data_.k, shape_.k, key, count), count, queries_, scores_, shape_.d, width_, false);
    hide_keys(shape_, data_, tile_, key, count, scores_, width_, begin_);
    for (std::int64_t at = 0; at < width_; at += lanes) update_softmax(at, count);
    const Elements v = keys_of(data_.v, shape_.v, key, count);
    product({v.data, v.column, v.row}, shape_.d, scores_, result_, count, width_, true);
  }

  /// Turns the scores of one vector of queries into weights exp(score - largest), and corrects what was
  /// summed before under a smaller maximum.
  void update_softmax(std::int64_t at, std::int64_t count) {
    const FloatVec none = hn::Set(f32_tag, lowest);
    const FloatVec before = load(largest_ + at);
    FloatVec largest = before;
    for (std::int64_t j = 0; j < count; ++j) largest = hn::Max(largest, load(scores_ + j * width_ + at));
    store(largest, largest_ + at);
    // A query that saw nothing yet keeps weights of 0.
    const FloatVec shift = hn::IfThenElse(hn::Eq(largest, none), hn::Zero(f32_tag), largest);
    const FloatVec correction = exp_vec(hn::Sub(before, shift));
    FloatVec sum = hn::Mul(load(sum_ + at), correction);
    for (std::int64_t j = 0; j < count; ++j) {
      float* score = scores_ + j * width_ + at;
      const FloatVec weight = exp_vec(hn::Sub(load(score), shift));
      store(weight, score);
      sum = hn::Add(sum, weight);
    }
    store(sum, sum_ + at);
    if (hn::AllTrue(f32_tag, hn::Eq(correction, hn::Set(f32_tag, 1.0f)))) return;
    for (std::int64_t c = 0; c < shape_.d; ++c) {
      float* result = result_ + c * width_ + at;
      store(hn::Mul(load(result), correction), result);
    }
  }

  void write() {
    T* out = static_cast<T*>(data_.out);
    float* row_values = wide_;
    for (std::int64_t i = 0; i < rows_; ++i) {
      const AttentionRow row(shape_, tile_, tile_.begin + i);
      T* to = out + ((row.batch * shape_.heads + row.head) * shape_.m + row.query) * shape_.d;
      const float scale = sum_[i] == 0 ? 0.0f : 1.0f / sum_[i];
      for (std::int64_t c = 0; c < shape_.d; ++c) row_values[c] = result_[c * width_ + i] * scale;
      std::int64_t c = 0;
      for (; c + lanes <= shape_.d; c += lanes) store(load(row_values + c), to + c);
      if (c < shape_.d) store_first(load_first(row_values + c, shape_.d - c, 0.0f), to + c, shape_.d - c);
    }
  }

  const AttentionShape& shape_;
  const AttentionData& data_;
  const AttentionTile& tile_;
  std::int64_t rows_;
  std::int64_t width_;  // rows, rounded up to whole vectors
  KeyRange all_{};
  float* largest_;
  float* sum_;
  float* begin_;    // and ends of the visible keys
  float* scores_;   // [keys, width]
  float* queries_;  // [d, width]
  float* result_;   // [d, width]
  float* wide_;     // [keys, d]
};

void RunTile(const AttentionShape& shape, const AttentionData& data, const AttentionTile& tile,
             float* scratch) {
  if (shape.dtype == DType::bf16)
    Tile<bfloat16>(shape, data, tile, scratch).run();
  else if (shape.dtype == DType::f16)
    Tile<float16>(shape, data, tile, scratch).run();
  else
    Tile<float>(shape, data, tile, scratch).run();
}

}  // namespace wick::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wick {
namespace {

HWY_EXPORT(RunTile);

template <typename M, typename F>
void for_each_masked(const AttentionShape& shape, const AttentionData& data, const AttentionTile& tile,
                     std::int64_t first_key, std::int64_t keys, const F& f) {
  for (std::int64_t i = 0; i < tile.end - tile.begin; ++i) {
    const AttentionRow row(shape, tile, tile.begin + i);
    const M* mask = static_cast<const M*>(data.mask) + row.offset(shape.mask) + first_key * shape.mask[3];
    for (std::int64_t j = 0; j < keys; ++j) f(i, j, mask[j * shape.mask[3]]);
  }
}

}  // namespace

void apply_attention_mask(const AttentionShape& shape, const AttentionData& data, const AttentionTile& tile,
                          std::int64_t first_key, std::int64_t keys, float* scores, std::int64_t row_step,
                          std::int64_t key_step) {
  const auto add = [&](std::int64_t i, std::int64_t j, auto value) {
    scores[i * row_step + j * key_step] += static_cast<float>(value);
  };
  switch (shape.mask_dtype) {
    case DType::bool_:
      for_each_masked<std::uint8_t>(
          shape, data, tile, first_key, keys, [&](std::int64_t i, std::int64_t j, std::uint8_t value) {
            if (!value) scores[i * row_step + j * key_step] = -std::numeric_limits<float>::infinity();
          });
      break;
    case DType::bf16: for_each_masked<bfloat16>(shape, data, tile, first_key, keys, add); break;
    case DType::f16: for_each_masked<float16>(shape, data, tile, first_key, keys, add); break;
    case DType::f64: for_each_masked<double>(shape, data, tile, first_key, keys, add); break;
    default: for_each_masked<float>(shape, data, tile, first_key, keys, add); break;
  }
}

std::size_t attention_scratch_floats(const AttentionShape& shape) {
  const std::int64_t floats = 4 * attention_tile_rows + attention_tile_keys * attention_tile_rows +
                              shape.d * (2 * attention_tile_rows + attention_tile_keys);
  return static_cast<std::size_t>(floats);
}

void run_attention_tile(const AttentionShape& shape, const AttentionData& data, const AttentionTile& tile,
                        float* scratch) {
  HWY_DYNAMIC_DISPATCH(RunTile)(shape, data, tile, scratch);
}

}  // namespace wick
#endif
