#include <cmath>
#include <limits>

#include "backend/cpu/attention_tile.h"
#include "backend/cpu/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/attention_gradient.cpp"
#include <hwy/foreach_target.h>

#include "backend/cpu/attention_amx-inl.h"
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

/// What the products of the backward pass read and add to.
struct GradientOperands {
  const AttentionShape& shape;
  const AttentionGradientData& data;
  const AttentionTile& tile;
  std::int64_t width;  // rows, rounded up to what products take
  float* key_sums;     // [n, padded d]
  float* value_sums;   // [n, padded d]
};

/// Products in f32.
template <typename T>
class WideGradient {
 public:
  using Element = T;
  static constexpr std::int64_t row_step = lanes;

  WideGradient(const GradientOperands& operands, FloatParts& scratch)
      : of_(operands), padded_(of_.shape.padded_d()) {
    const auto take = [&](std::int64_t rows) { return scratch.floats(rows * padded_); };
    q_ = take(attention_tile_rows);
    grad_ = take(attention_tile_rows);
    q_sums_ = take(attention_tile_rows);
    q_columns_ = take(of_.width);
    grad_columns_ = take(of_.width);
    k_ = take(attention_tile_keys);
    v_ = take(attention_tile_keys);
    std::fill_n(q_columns_, of_.shape.d * of_.width, 0.0f);
    std::fill_n(grad_columns_, of_.shape.d * of_.width, 0.0f);
  }

  /// The scaled query and the output's gradient, both as rows and as columns. Returns the inner product of
  /// the output and its gradient.
  float load_row(std::int64_t i, const T* q, const T* out, const T* gradient) {
    float* query = q_ + i * padded_;
    float* grad = grad_ + i * padded_;
    widen_row(q, of_.shape.q[3], of_.shape.d, query, padded_);
    widen_row(gradient, of_.data.grad_steps[3], of_.shape.d, grad, padded_);
    widen_row(out, of_.data.out_steps[3], of_.shape.d, q_sums_, padded_);
    float inner = 0;
    for (std::int64_t c = 0; c < of_.shape.d; ++c) {
      query[c] *= of_.shape.scale;
      inner += q_sums_[c] * grad[c];
      q_columns_[c * of_.width + i] = query[c];
      grad_columns_[c * of_.width + i] = grad[c];
    }
    return inner;
  }
  void loaded() { std::fill_n(q_sums_, attention_tile_rows * padded_, 0.0f); }

  void score(std::int64_t key, std::int64_t count, float* scores) {
    load_keys(of_.data.forward.k, of_.shape.k, key, count, k_);
    product({k_, padded_, 1}, count, q_columns_, scores, of_.shape.d, of_.width, false);
  }

  void weight_gradients(std::int64_t key, std::int64_t count, float* gradients) {
    load_keys(of_.data.forward.v, of_.shape.v, key, count, v_);
    product({v_, padded_, 1}, count, grad_columns_, gradients, of_.shape.d, of_.width, false);
  }

  /// Adds a block's part to all sums; `gradients` are those of the scores that were computed last.
  void add(std::int64_t key, std::int64_t count, const float* weights, const float* gradients) {
    const std::int64_t rows = of_.tile.end - of_.tile.begin;
    product({weights, of_.width, 1}, count, grad_, of_.value_sums + key * padded_, rows, padded_, true);
    product({gradients, of_.width, 1}, count, q_, of_.key_sums + key * padded_, rows, padded_, true);
    product({gradients, 1, of_.width}, rows, k_, q_sums_, count, padded_, true);
  }

  /// Calls write(row, gradient of its query).
  template <typename F>
  void write(const F& write) {
    T* row = reinterpret_cast<T*>(k_);
    for (std::int64_t i = 0; i < of_.tile.end - of_.tile.begin; ++i) {
      for (std::int64_t c = 0; c < padded_; c += lanes)
        store(hn::Mul(load(q_sums_ + i * padded_ + c), hn::Set(f32_tag, of_.shape.scale)), row + c);
      write(i, row);
    }
  }

 private:
  void load_keys(const void* base, const AttentionSteps& steps, std::int64_t key, std::int64_t count,
                 float* to) {
    const T* from = static_cast<const T*>(base) + of_.tile.batch * steps[0] +
                    of_.tile.head / of_.shape.group() * steps[1] + key * steps[2];
    for (std::int64_t j = 0; j < count; ++j)
      widen_row(from + j * steps[2], steps[3], of_.shape.d, to + j * padded_, padded_);
  }

  GradientOperands of_;
  std::int64_t padded_;
  float* q_;             // [rows, padded]
  float* grad_;          // [rows, padded]
  float* q_sums_;        // [rows, padded]
  float* q_columns_;     // [d, width]
  float* grad_columns_;  // [d, width]
  float* k_;             // [keys, padded]
  float* v_;             // [keys, padded]
};

/// The same of bf16 tiles on AMX; weights and gradients of scores are rounded to bf16 before they are
/// multiplied.
class AmxGradient : public AmxProducts {
 public:
  AmxGradient(const GradientOperands& operands, FloatParts& scratch)
      : AmxProducts(operands.shape, operands.tile), of_(operands) {
    const auto take = [&](std::int64_t columns) { return scratch.halves(attention_tile_rows * columns); };
    q_ = take(padded_);
    grad_ = take(padded_);
    out_ = take(padded_);
    q_columns_ = take(padded_);
    grad_columns_ = take(padded_);
    q_pairs_ = take(padded_);
    grad_pairs_ = take(padded_);
    weights_ = take(attention_tile_keys);
    gradients_ = take(attention_tile_keys);
    gradient_pairs_ = take(attention_tile_keys);
    q_sums_ = scratch.floats(padded_ * attention_tile_rows);
  }

  float load_row(std::int64_t i, const bfloat16* q, const bfloat16* out, const bfloat16* gradient) {
    bfloat16* grad = grad_ + i * padded_;
    copy_row(q, shape_.q[3], shape_.d, q_ + i * padded_, padded_);
    copy_row(gradient, of_.data.grad_steps[3], shape_.d, grad, padded_);
    copy_row(out, of_.data.out_steps[3], shape_.d, out_, padded_);
    FloatVec sum = hn::Zero(f32_tag);
    for (std::int64_t c = 0; c < padded_; c += lanes) sum = hn::MulAdd(load(out_ + c), load(grad + c), sum);
    return sum_of(sum);
  }
  void loaded() {
    for (bfloat16* rows : {q_, grad_}) clear_rows_behind(rows);
    pair_columns(q_, padded_, q_columns_);
    pair_columns(grad_, padded_, grad_columns_);
    pair_rows(q_, padded_, q_pairs_);
    pair_rows(grad_, padded_, grad_pairs_);
    std::fill_n(q_sums_, padded_ * attention_tile_rows, 0.0f);
  }

  void score(std::int64_t key, std::int64_t count, float* scores) {
    AmxProducts::score(of_.data.forward.key_rows, key, count, q_columns_, scores);
  }

  void weight_gradients(std::int64_t key, std::int64_t count, float* gradients) {
    multiply(of_.data.forward.value_rows, key, count, grad_columns_, gradients);
  }

  void add(std::int64_t key, std::int64_t count, const float* weights, const float* gradients) {
    round_weights(weights, count, 1.0f, nullptr, weights_);
    round_weights(gradients, count, shape_.scale, gradient_pairs_, gradients_);
    add_rows(weights_, count, grad_pairs_, of_.value_sums + key * padded_);
    add_rows(gradients_, count, q_pairs_, of_.key_sums + key * padded_);
    add_columns(of_.data.forward.key_columns, key, count, gradient_pairs_, q_sums_);
  }

  template <typename F>
  void write(const F& write) {
    float ones[attention_tile_rows];
    std::fill_n(ones, attention_tile_rows, 1.0f);
    columns_to_rows(q_sums_, ones, padded_, q_);
    for (std::int64_t i = 0; i < rows_; ++i) write(i, q_ + i * padded_);
  }

 private:
  GradientOperands of_;
  bfloat16* q_;               // [rows, padded d]
  bfloat16* grad_;            // [rows, padded d]
  bfloat16* out_;             // a row
  bfloat16* q_columns_;       // pairs along d
  bfloat16* grad_columns_;    // pairs along d
  bfloat16* q_pairs_;         // pairs of queries
  bfloat16* grad_pairs_;      // pairs of queries
  bfloat16* weights_;         // [keys, rows]
  bfloat16* gradients_;       // [keys, rows]
  bfloat16* gradient_pairs_;  // pairs of keys
  float* q_sums_;             // [padded d, rows]
};

/// Scores and their gradients are [keys, queries], as in the forward pass.
template <typename Products>
class GradientTile {
 public:
  GradientTile(const AttentionShape& shape, const AttentionGradientData& data, const AttentionTile& tile,
               float* key_sums, FloatParts scratch)
      : shape_(shape),
        data_(data),
        tile_(tile),
        visible_(shape, data.forward, tile),
        rows_(tile.end - tile.begin),
        width_((rows_ + Products::row_step - 1) / Products::row_step * Products::row_step),
        log_sum_(scratch.floats(attention_tile_rows)),
        largest_(scratch.floats(attention_tile_rows)),
        total_(scratch.floats(attention_tile_rows)),
        inner_(scratch.floats(attention_tile_rows)),
        scores_(scratch.floats(attention_tile_keys * width_)),
        gradients_(scratch.floats(attention_tile_keys * width_)),
        products_({shape, data, tile, width_, key_sums, key_sums + attention_sums(shape)}, scratch) {}

  void run() {
    load_rows();
    sum_softmax();
    for_each_tile([&](std::int64_t key, std::int64_t count) { add_keys(key, count); });
    T* out = static_cast<T*>(data_.q_gradient);
    const AttentionSteps steps = side_by_side(shape_.heads, shape_.m, shape_.d);
    products_.write([&](std::int64_t i, const T* gradient) {
      const AttentionRow row(shape_, tile_, tile_.begin + i);
      std::copy_n(gradient, shape_.d, out + row.offset(steps));
    });
  }

 private:
  using T = typename Products::Element;

  template <typename F>
  void for_each_tile(const F& f) {
    for (std::int64_t key = visible_.any.begin; key < visible_.any.end; key += attention_tile_keys)
      f(key, std::min(attention_tile_keys, visible_.any.end - key));
  }

  void load_rows() {
    std::fill_n(inner_, width_, 0.0f);
    for (std::int64_t i = 0; i < rows_; ++i) {
      const AttentionRow row(shape_, tile_, tile_.begin + i);
      const auto at = [&](const void* base, const AttentionSteps& steps) {
        return static_cast<const T*>(base) + row.offset(steps);
      };
      inner_[i] = products_.load_row(i, at(data_.forward.q, shape_.q), at(data_.out, data_.out_steps),
                                     at(data_.grad, data_.grad_steps));
    }
    products_.loaded();
  }

  void score(std::int64_t key, std::int64_t count) {
    products_.score(key, count, scores_);
    hide_keys(shape_, data_.forward, tile_, visible_, key, count, scores_, width_);
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
    products_.weight_gradients(key, count, gradients_);
    for (std::int64_t at = 0; at < width_; at += lanes) {
      const FloatVec log_sum = load(log_sum_ + at);
      const FloatVec inner = load(inner_ + at);
      for (std::int64_t i = at; i < count * width_; i += width_) {
        const FloatVec weight = exp_vec(hn::Sub(load(scores_ + i), log_sum));
        store(weight, scores_ + i);
        store(hn::Mul(weight, hn::Sub(load(gradients_ + i), inner)), gradients_ + i);
      }
    }
    products_.add(key, count, scores_, gradients_);
  }

  const AttentionShape& shape_;
  const AttentionGradientData& data_;
  const AttentionTile& tile_;
  VisibleKeys visible_;
  std::int64_t rows_;
  std::int64_t width_;  // rows, rounded up to what products take
  float* log_sum_;
  float* largest_;
  float* total_;
  float* inner_;      // output times its gradient
  float* scores_;     // [keys, width], then weights
  float* gradients_;  // [keys, width], of the scores
  Products products_;
};

void AddGradient(const AttentionShape& shape, const AttentionGradientData& data, const AttentionTile& tile,
                 float* key_sums, float* scratch) {
  const FloatParts parts(scratch);
  if (shape.amx)
    GradientTile<AmxGradient>(shape, data, tile, key_sums, parts).run();
  else if (shape.dtype == DType::bf16)
    GradientTile<WideGradient<bfloat16>>(shape, data, tile, key_sums, parts).run();
  else if (shape.dtype == DType::f16)
    GradientTile<WideGradient<float16>>(shape, data, tile, key_sums, parts).run();
  else
    GradientTile<WideGradient<float>>(shape, data, tile, key_sums, parts).run();
}

}  // namespace wick::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wick {
namespace {

HWY_EXPORT(AddGradient);

template <typename T>
void write_rows(const float* sums, std::int64_t parts, std::int64_t step, std::int64_t rows,
                std::int64_t padded, std::int64_t d, T* out, std::int64_t out_step) {
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t c = 0; c < d; ++c) {
      float sum = sums[i * padded + c];
      for (std::int64_t part = 1; part < parts; ++part) sum += sums[part * step + i * padded + c];
      out[i * out_step + c] = T(sum);
    }
}

}  // namespace

std::size_t attention_gradient_scratch_floats(const AttentionShape& shape) {
  constexpr std::int64_t rows = attention_tile_rows;
  constexpr std::int64_t keys = attention_tile_keys;
  const std::int64_t products = shape.padded_d() * (5 * rows + 2 * keys) + (shape.amx ? 2 * keys * rows : 0);
  return static_cast<std::size_t>(4 * rows + 2 * keys * rows + products);
}

void add_attention_gradient(const AttentionShape& shape, const AttentionGradientData& data,
                            const AttentionTile& tile, float* key_sums, float* scratch) {
  HWY_DYNAMIC_DISPATCH(AddGradient)(shape, data, tile, key_sums, scratch);
}

void write_key_gradients(const AttentionShape& shape, const float* key_sums, std::int64_t parts,
                         std::int64_t begin, std::int64_t end, void* k_gradient, void* v_gradient) {
  const std::int64_t padded = shape.padded_d();
  const std::int64_t sums = attention_sums(shape);
  const auto write = [&](auto zero) {
    using T = decltype(zero);
    const std::int64_t step = side_by_side(shape.kv_heads, shape.n, shape.d)[2];
    const auto rows_of = [&](std::int64_t first, void* out) {
      write_rows(key_sums + first + begin * padded, parts, 2 * sums, end - begin, padded, shape.d,
                 static_cast<T*>(out) + begin * step, step);
    };
    rows_of(0, k_gradient);
    rows_of(sums, v_gradient);
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
