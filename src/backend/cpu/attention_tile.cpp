#include "backend/cpu/attention_tile.h"

#include <limits>

#include "backend/cpu/highway_targets.h"
#include "backend/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/attention_tile.cpp"
#include <hwy/foreach_target.h>

#include "backend/cpu/attention_amx-inl.h"
#include "backend/cpu/attention_scores-inl.h"

HWY_BEFORE_NAMESPACE();
namespace wick::HWY_NAMESPACE {

/// Products in f32: queries [d, width] with keys and values as they lie, or widened.
template <typename T>
class WideProducts {
 public:
  using Element = T;
  static constexpr std::int64_t row_step = lanes;

  WideProducts(const AttentionShape& shape, const AttentionData& data, const AttentionTile& tile,
               std::int64_t width, FloatParts& scratch)
      : shape_(shape),
        data_(data),
        tile_(tile),
        width_(width),
        queries_(scratch.floats(shape.d * width)),
        wide_(scratch.floats(shape.d * attention_tile_keys)) {
    std::fill_n(queries_, shape.d * width, 0.0f);
  }

  void load_query(std::int64_t i, const T* from) {
    for (std::int64_t c = 0; c < shape_.d; ++c)
      queries_[c * width_ + i] = static_cast<float>(from[c * shape_.q[3]]) * shape_.scale;
  }
  void loaded() {}

  void score(std::int64_t key, std::int64_t count, float* scores) {
    product(keys_of(data_.k, shape_.k, key, count), count, queries_, scores, shape_.d, width_, false);
  }

  void add_values(std::int64_t key, std::int64_t count, const float* weights, float* result) {
    const Elements v = keys_of(data_.v, shape_.v, key, count);
    product({v.data, v.column, v.row}, shape_.d, weights, result, count, width_, true);
  }

  /// Calls write(row, its elements) for the result [d, width], each row times its factor.
  template <typename F>
  void write(const float* result, const float* factors, const F& write) {
    T* row = reinterpret_cast<T*>(wide_);
    for (std::int64_t i = 0; i < tile_.end - tile_.begin; ++i) {
      for (std::int64_t c = 0; c < shape_.d; ++c) row[c] = T(result[c * width_ + i] * factors[i]);
      write(i, row);
    }
  }

 private:
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

  const AttentionShape& shape_;
  const AttentionData& data_;
  const AttentionTile& tile_;
  std::int64_t width_;
  float* queries_;  // [d, width], scaled
  float* wide_;     // [keys, d]
};

/// The same of bf16 tiles on AMX; weights are rounded to bf16 before they meet the values.
class AmxForward : public AmxProducts {
 public:
  AmxForward(const AttentionShape& shape, const AttentionData& data, const AttentionTile& tile,
             std::int64_t width, FloatParts& scratch)
      : AmxProducts(shape, tile),
        data_(data),
        rows_of_d_(scratch.halves(width * padded_)),
        queries_(scratch.halves(width * padded_)),
        weights_(scratch.halves(attention_tile_keys * width)) {}

  void load_query(std::int64_t i, const bfloat16* from) {
    copy_row(from, shape_.q[3], shape_.d, rows_of_d_ + i * padded_, padded_);
  }
  void loaded() {
    clear_rows_behind(rows_of_d_);
    pair_columns(rows_of_d_, padded_, queries_);
  }

  void score(std::int64_t key, std::int64_t count, float* scores) {
    AmxProducts::score(data_.key_rows, key, count, queries_, scores);
  }

  void add_values(std::int64_t key, std::int64_t count, const float* weights, float* result) {
    round_weights(weights, count, 1.0f, weights_, nullptr);
    add_columns(data_.value_columns, key, count, weights_, result);
  }

  template <typename F>
  void write(const float* result, const float* factors, const F& write) {
    columns_to_rows(result, factors, padded_, rows_of_d_);
    for (std::int64_t i = 0; i < rows_; ++i) write(i, rows_of_d_ + i * padded_);
  }

 private:
  const AttentionData& data_;
  bfloat16* rows_of_d_;  // [width, padded d]: queries, then results
  bfloat16* queries_;    // pairs along d
  bfloat16* weights_;    // pairs of keys
};

/// Queries lie along the vectors, so that maxima, sums and masks of many queries are plain vector arithmetic.
template <typename Products>
class Tile {
 public:
  Tile(const AttentionShape& shape, const AttentionData& data, const AttentionTile& tile, FloatParts scratch)
      : shape_(shape),
        data_(data),
        tile_(tile),
        visible_(shape, data, tile),
        rows_(tile.end - tile.begin),
        width_((rows_ + Products::row_step - 1) / Products::row_step * Products::row_step),
        largest_(scratch.floats(attention_tile_rows)),
        sum_(scratch.floats(attention_tile_rows)),
        scores_(scratch.floats(attention_tile_keys * width_)),
        result_(scratch.floats(shape.padded_d() * width_)),
        products_(shape, data, tile, width_, scratch) {}

  void run() {
    const T* q = static_cast<const T*>(data_.q);
    for (std::int64_t i = 0; i < rows_; ++i)
      products_.load_query(i, q + AttentionRow(shape_, tile_, tile_.begin + i).offset(shape_.q));
    products_.loaded();
    std::fill_n(result_, shape_.padded_d() * width_, 0.0f);
    std::fill_n(largest_, width_, lowest);
    std::fill_n(sum_, width_, 0.0f);
    for (std::int64_t key = visible_.any.begin; key < visible_.any.end; key += attention_tile_keys)
      add_keys(key, std::min(attention_tile_keys, visible_.any.end - key));
    write();
  }

 private:
  using T = typename Products::Element;

  void add_keys(std::int64_t key, std::int64_t count) {
    products_.score(key, count, scores_);
    hide_keys(shape_, data_, tile_, visible_, key, count, scores_, width_);
    for (std::int64_t at = 0; at < width_; at += lanes) update_softmax(at, count);
    products_.add_values(key, count, scores_, result_);
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
    for (std::int64_t i = 0; i < width_; ++i) sum_[i] = sum_[i] == 0 ? 0.0f : 1.0f / sum_[i];
    products_.write(result_, sum_, [&](std::int64_t i, const T* values) {
      const AttentionRow row(shape_, tile_, tile_.begin + i);
      std::copy_n(values, shape_.d, out + row.offset(shape_.out));
    });
  }

  const AttentionShape& shape_;
  const AttentionData& data_;
  const AttentionTile& tile_;
  VisibleKeys visible_;
  std::int64_t rows_;
  std::int64_t width_;  // rows, rounded up to what products take
  float* largest_;
  float* sum_;
  float* scores_;  // [keys, width]
  float* result_;  // [d, width]
  Products products_;
};

void RunTile(const AttentionShape& shape, const AttentionData& data, const AttentionTile& tile,
             float* scratch) {
  const FloatParts parts(scratch);
  if (shape.amx)
    Tile<AmxForward>(shape, data, tile, parts).run();
  else if (shape.dtype == DType::bf16)
    Tile<WideProducts<bfloat16>>(shape, data, tile, parts).run();
  else if (shape.dtype == DType::f16)
    Tile<WideProducts<float16>>(shape, data, tile, parts).run();
  else
    Tile<WideProducts<float>>(shape, data, tile, parts).run();
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

/// Of keys `row` apart, elements `column` apart.
void write_block(const bfloat16* from, std::int64_t row, std::int64_t column, std::int64_t count,
                 std::int64_t d, std::int64_t padded, bfloat16* rows, bfloat16* columns) {
  constexpr std::int64_t width = attention_tile_keys;
  if (rows) {
    std::fill_n(rows, width * padded, bfloat16{});
    for (std::int64_t j = 0; j < count; ++j) {
      bfloat16* to = rows + j * padded;
      if (column == 1)
        std::copy_n(from + j * row, d, to);
      else
        for (std::int64_t c = 0; c < d; ++c) to[c] = from[j * row + c * column];
    }
  }
  if (columns) {
    std::fill_n(columns, width * padded, bfloat16{});
    for (std::int64_t c = 0; c < d; ++c)
      for (std::int64_t j = 0; j < count; ++j) columns[c * width + j] = from[j * row + c * column];
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

VisibleKeys::VisibleKeys(const AttentionShape& shape, const AttentionData& data, const AttentionTile& tile)
    : any{shape.n, 0}, common{0, shape.n} {
  for (std::int64_t i = 0; i < tile.end - tile.begin; ++i) {
    const KeyRange keys = visible_keys(shape, data.offset + AttentionRow(shape, tile, tile.begin + i).query);
    rows[i] = keys;
    common = {std::max(common.begin, keys.begin), std::min(common.end, keys.end)};
    if (keys.begin < keys.end) any = {std::min(any.begin, keys.begin), std::max(any.end, keys.end)};
  }
  any.begin -= any.begin % attention_tile_keys;
}

void write_attention_blocks(const AttentionShape& shape, std::int64_t offset, const void* from,
                            const AttentionSteps& steps, bfloat16* rows, bfloat16* columns) {
  constexpr std::int64_t width = attention_tile_keys;
  const AttentionBlocks blocks(shape);
  const std::int64_t padded = shape.padded_d();
  const std::int64_t first = visible_keys(shape, offset).begin / width;
  // What lies behind may be anything, NaN too: it is zeros in the blocks.
  const std::int64_t visible = visible_keys(shape, offset + shape.m - 1).end;
  const std::int64_t used = (visible + width - 1) / width - first;
  parallel_for(blocks.heads * used, 4, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t head = i / used;
      const std::int64_t key = (first + i % used) * width;
      const std::int64_t count = std::min(width, visible - key);
      const bfloat16* block = static_cast<const bfloat16*>(from) + head / shape.kv_heads * steps[0] +
                              head % shape.kv_heads * steps[1] + key * steps[2];
      write_block(block, steps[2], steps[3], count, shape.d, padded,
                  rows ? rows + blocks.at(head, key) : nullptr,
                  columns ? columns + blocks.at(head, key) : nullptr);
    }
  });
}

std::size_t attention_scratch_floats(const AttentionShape& shape) {
  constexpr std::int64_t rows = attention_tile_rows;
  constexpr std::int64_t keys = attention_tile_keys;
  return static_cast<std::size_t>(4 * rows + 2 * keys * rows + shape.padded_d() * (2 * rows + keys));
}

void run_attention_tile(const AttentionShape& shape, const AttentionData& data, const AttentionTile& tile,
                        float* scratch) {
  HWY_DYNAMIC_DISPATCH(RunTile)(shape, data, tile, scratch);
}

}  // namespace wick
#endif
