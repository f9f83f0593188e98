#include <cmath>
#include <limits>

#include "backend/cpu/attention_tile.h"
#include "backend/cpu/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/attention_gradient.cpp"
#include <hwy/foreach_target.h>

#include "backend/cpu/attention_scores-inl.h"

HWY_BEFORE_NAMESPACE();
namespace wick::HWY_NAMESPACE {

/// One row as f32, filled up with zeros.
template <typename T>
void widen_row(const T* from, std::int64_t step, std::int64_t d, float* to, std::int64_t padded) {
  std::int64_t c = 0;
  if (step == 1)
    for (; c + lanes <= d; c += lanes) store(load(from + c), to + c);
  for (; c < d; ++c) to[c] = static_cast<float>(from[c * step]);
  std::fill(to + d, to + padded, 0.0f);
}

/// Scores and their gradients are [keys, queries], as in the forward pass.
template <typename T>
class GradientTile {
 public:
  GradientTile(const AttentionShape& shape, const AttentionGradientData& data, const AttentionTile& tile,
               float* key_sums, float* scratch)
      : shape_(shape),
        data_(data),
        tile_(tile),
        rows_(tile.end - tile.begin),
        width_((rows_ + lanes - 1) / lanes * lanes),
        padded_(attention_padded_d(shape)),
        k_sums_(key_sums),
        v_sums_(key_sums + shape.n * padded_) {
    const auto take = [&](std::int64_t floats) {
      float* at = scratch;
      scratch += floats;
      return at;
    };
    constexpr std::int64_t rows = attention_tile_rows;
    constexpr std::int64_t keys = attention_tile_keys;
    ranges_ = take(2 * rows);
    log_sum_ = take(rows);
    largest_ = take(rows);
    total_ = take(rows);
    inner_ = take(rows);
    scores_ = take(keys * rows);
    gradients_ = take(keys * rows);
    q_ = take(rows * padded_);
    grad_ = take(rows * padded_);
    q_sums_ = take(rows * padded_);
    q_columns_ = take(padded_ * rows);
    grad_columns_ = take(padded_ * rows);
    k_ = take(keys * padded_);
    v_ = take(keys * padded_);
  }

  void run() {
    load_rows();
    sum_softmax();
    std::fill_n(q_sums_, rows_ * padded_, 0.0f);
    for_each_tile([&](std::int64_t key, std::int64_t count) { add_keys(key, count); });
    T* out = static_cast<T*>(data_.q_gradient);
    for (std::int64_t i = 0; i < rows_; ++i) {
      const AttentionRow row(shape_, tile_, tile_.begin + i);
      T* to = out + ((row.batch * shape_.heads + row.head) * shape_.m + row.query) * shape_.d;
      for (std::int64_t c = 0; c < shape_.d; c += lanes)
        store_first(hn::Mul(load(q_sums_ + i * padded_ + c), hn::Set(f32_tag, shape_.scale)), to + c,
                    std::min(lanes, shape_.d - c));
    }
  }

 private:
  template <typename F>
  void for_each_tile(const F& f) {
    for (std::int64_t key = all_.begin; key < all_.end; key += attention_tile_keys)
      f(key, std::min(attention_tile_keys, all_.end - key));
  }

  /// The scaled queries and the output's gradient, both as rows and as columns; the inner products of the
  /// output and its gradient.
  void load_rows() {
    all_ = {shape_.n, 0};
    std::fill_n(inner_, width_, 0.0f);
    std::fill_n(q_columns_, shape_.d * width_, 0.0f);
    std::fill_n(grad_columns_, shape_.d * width_, 0.0f);
    for (std::int64_t i = 0; i < rows_; ++i) {
      const AttentionRow row(shape_, tile_, tile_.begin + i);
      float* q = q_ + i * padded_;
      float* grad = grad_ + i * padded_;
      const auto widen = [&](const void* from, const AttentionSteps& steps, float* to) {
        widen_row(static_cast<const T*>(from) + row.offset(steps), steps[3], shape_.d, to, padded_);
      };
      widen(data_.forward.q, shape_.q, q);
      widen(data_.grad, data_.grad_steps, grad);
      widen(data_.out, data_.out_steps, q_sums_);
      for (std::int64_t c = 0; c < shape_.d; ++c) {
        q[c] *= shape_.scale;
        inner_[i] += q_sums_[c] * grad[c];
        q_columns_[c * width_ + i] = q[c];
        grad_columns_[c * width_ + i] = grad[c];
      }
      const KeyRange keys = visible_keys(shape_, data_.forward.offset + row.query);
      if (keys.begin < keys.end) all_ = {std::min(all_.begin, keys.begin), std::max(all_.end, keys.end)};
    }
  }

  void load_keys(const void* base, const AttentionSteps& steps, std::int64_t key, std::int64_t count,
                 float* to) {
    const T* from = static_cast<const T*>(base) + tile_.batch * steps[0] +
                    tile_.head / shape_.group() * steps[1] + key * steps[2];
    for (std::int64_t j = 0; j < count; ++j)
      widen_row(from + j * steps[2], steps[3], shape_.d, to + j * padded_, padded_);
  }

  void score(std::int64_t key, std::int64_t count) {
    load_keys(data_.forward.k, shape_.k, key, count, k_);
    product({k_, padded_, 1}, count, q_columns_, scores_, shape_.d, width_, false);
    hide_keys(shape_, data_.forward, tile_, key, count, scores_, width_, ranges_);
  }

  /// Each query's log(sum(exp(score))); 0 for one that sees nothing, whose weights then are exp(-inf).
  void sum_softmax() {
    std::fill_n(largest_, width_, lowest);
    std::fill_n(total_, width_, 0.0f);
    for_each_tile([&](std::int64_t key, std::int64_t count) {
      score(key, count);
      for (std::int64_t at = 0; at < width_; at += lanes) add_to_softmax(at, count);
    });
    for (std::int64_t i = 0; i < width_; ++i)
      log_sum_[i] = largest_[i] == lowest ? 0.0f : largest_[i] + std::log(total_[i]);
  }

  void add_to_softmax(std::int64_t at, std::int64_t count) {
    const FloatVec before = load(largest_ + at);
    FloatVec largest = before;
    for (std::int64_t j = 0; j < count; ++j) largest = hn::Max(largest, load(scores_ + j * width_ + at));
    const FloatVec shift =
        hn::IfThenElse(hn::Eq(largest, hn::Set(f32_tag, lowest)), hn::Zero(f32_tag), largest);
    FloatVec total = hn::Mul(load(total_ + at), exp_vec(hn::Sub(before, shift)));
    for (std::int64_t j = 0; j < count; ++j)
      total = hn::Add(total, exp_vec(hn::Sub(load(scores_ + j * width_ + at), shift)));
    store(largest, largest_ + at);
    store(total, total_ + at);
  }

  void add_keys(std::int64_t key, std::int64_t count) {
    score(key, count);
    load_keys(data_.forward.v, shape_.v, key, count, v_);
    product({v_, padded_, 1}, count, grad_columns_, gradients_, shape_.d, width_, false);
    for (std::int64_t at = 0; at < width_; at += lanes) {
      const FloatVec log_sum = load(log_sum_ + at);
      const FloatVec inner = load(inner_ + at);
      for (std::int64_t i = at; i < count * width_; i += width_) {
        const FloatVec weight = exp_vec(hn::Sub(load(scores_ + i), log_sum));
        store(weight, scores_ + i);
        store(hn::Mul(weight, hn::Sub(load(gradients_ + i), inner)), gradients_ + i);
      }
    }
    product({scores_, width_, 1}, count, grad_, v_sums_ + key * padded_, rows_, padded_, true);
    product({gradients_, width_, 1}, count, q_, k_sums_ + key * padded_, rows_, padded_, true);
    product({gradients_, 1, width_}, rows_, k_, q_sums_, count, padded_, true);
  }

  const AttentionShape& shape_;
  const AttentionGradientData& data_;
  const AttentionTile& tile_;
  std::int64_t rows_;
  std::int64_t width_;   // rows, rounded up to whole vectors
  std::int64_t padded_;  // d, rounded up
  KeyRange all_{};
  float* k_sums_;
  float* v_sums_;
  float* ranges_;
  float* log_sum_;
  float* largest_;
  float* total_;
  float* inner_;         // output times its gradient
  float* scores_;        // [keys, width], then weights
  float* gradients_;     // [keys, width], of the scores
  float* q_;             // [rows, padded]
  float* grad_;          // [rows, padded]
  float* q_sums_;        // [rows, padded]
  float* q_columns_;     // [d, width]
  float* grad_columns_;  // [d, width]
  float* k_;             // [keys, padded]
  float* v_;             // [keys, padded]
};

void AddGradient(const AttentionShape& shape, const AttentionGradientData& data, const AttentionTile& tile,
                 float* key_sums, float* scratch) {
  if (shape.dtype == DType::bf16)
    GradientTile<bfloat16>(shape, data, tile, key_sums, scratch).run();
  else if (shape.dtype == DType::f16)
    GradientTile<float16>(shape, data, tile, key_sums, scratch).run();
  else
    GradientTile<float>(shape, data, tile, key_sums, scratch).run();
}

}  // namespace wick::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wick {
namespace {

HWY_EXPORT(AddGradient);

template <typename T>
void write_rows(const float* sums, std::int64_t parts, std::int64_t step, std::int64_t rows,
                std::int64_t padded, std::int64_t d, T* out) {
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t c = 0; c < d; ++c) {
      float sum = sums[i * padded + c];
      for (std::int64_t part = 1; part < parts; ++part) sum += sums[part * step + i * padded + c];
      out[i * d + c] = T(sum);
    }
}

}  // namespace

std::size_t attention_gradient_scratch_floats(const AttentionShape& shape) {
  constexpr std::int64_t rows = attention_tile_rows;
  constexpr std::int64_t keys = attention_tile_keys;
  return static_cast<std::size_t>(6 * rows + 2 * keys * rows +
                                  attention_padded_d(shape) * (5 * rows + 2 * keys));
}

void add_attention_gradient(const AttentionShape& shape, const AttentionGradientData& data,
                            const AttentionTile& tile, float* key_sums, float* scratch) {
  HWY_DYNAMIC_DISPATCH(AddGradient)(shape, data, tile, key_sums, scratch);
}

void write_key_gradients(const AttentionShape& shape, const float* key_sums, std::int64_t parts,
                         std::int64_t begin, std::int64_t end, void* k_gradient, void* v_gradient) {
  const std::int64_t padded = attention_padded_d(shape);
  const std::int64_t step = attention_key_sums(shape);
  const auto write = [&](auto zero) {
    using T = decltype(zero);
    const auto rows_of = [&](std::int64_t first, void* out) {
      write_rows(key_sums + (first + begin) * padded, parts, step, end - begin, padded, shape.d,
                 static_cast<T*>(out) + begin * shape.d);
    };
    rows_of(0, k_gradient);
    rows_of(shape.n, v_gradient);
  };
  if (shape.dtype == DType::bf16)
    write(bfloat16{});
  else if (shape.dtype == DType::f16)
    write(float16{});
  else
    write(float{});
}

}  // namespace wick
#endif
