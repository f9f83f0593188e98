#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "ops/op_harness.h"
#include "optimize/decompose_scope.h"
#include "wick/error.h"
#include "wick/grad.h"
#include "wick/ops.h"

namespace wick::test {
namespace {

constexpr double lowest = -std::numeric_limits<double>::infinity();

/// Added to a score, or -inf; indices of batch, head, query and key.
using Bias = std::function<double(std::int64_t b, std::int64_t h, std::int64_t i, std::int64_t j)>;

/// One query at a time, by the definition.
Array attend(const Array& q, const Array& k, const Array& v, double scale, const Bias& bias) {
  const Shape& s = q.shape;
  const std::int64_t kv_heads = k.shape[1];
  const std::int64_t n = k.shape[2];
  const std::int64_t d = s[3];
  Array out{s, std::vector<double>(q.values.size(), 0.0)};
  const auto at = [](const Array& x, std::int64_t i) { return x.values[static_cast<std::size_t>(i)]; };
  for (std::int64_t b = 0; b < s[0]; ++b)
    for (std::int64_t h = 0; h < s[1]; ++h)
      for (std::int64_t i = 0; i < s[2]; ++i) {
        const std::int64_t query = ((b * s[1] + h) * s[2] + i) * d;
        const std::int64_t keys = (b * kv_heads + h / (s[1] / kv_heads)) * n * d;
        std::vector<double> scores;
        for (std::int64_t j = 0; j < n; ++j) {
          double score = bias(b, h, i, j);
          for (std::int64_t c = 0; c < d; ++c) score += scale * at(q, query + c) * at(k, keys + j * d + c);
          scores.push_back(score);
        }
        double total = 0;
        for (double score : scores) total += std::exp(score);
        if (total == 0) continue;
        for (std::int64_t j = 0; j < n; ++j)
          for (std::int64_t c = 0; c < d; ++c)
            out.values[static_cast<std::size_t>(query + c)] +=
                std::exp(scores[static_cast<std::size_t>(j)]) / total * at(v, keys + j * d + c);
      }
  return out;
}

Bias by_position(bool causal, std::int64_t window, std::int64_t offset) {
  return [=](std::int64_t, std::int64_t, std::int64_t i, std::int64_t j) {
    const std::int64_t distance = offset + i - j;
    const bool visible = (!causal || distance >= 0) && (window == 0 || distance < window);
    return visible ? 0.0 : lowest;
  };
}

double default_scale(const Array& q) { return 1 / std::sqrt(static_cast<double>(q.shape[3])); }

std::vector<std::vector<Shape>> attention_shapes() {
  const auto shapes = [](const Shape& q, const Shape& k) { return std::vector<Shape>{q, k, k}; };
  return {shapes({1, 1, 1, 1}, {1, 1, 1, 1}),      shapes({2, 2, 3, 4}, {2, 2, 3, 4}),
          shapes({1, 4, 3, 2}, {1, 2, 5, 2}),      shapes({1, 2, 1, 5}, {1, 2, 7, 5}),
          shapes({1, 2, 0, 3}, {1, 1, 4, 3}),      shapes({2, 6, 1, 37}, {2, 2, 75, 37}),
          shapes({1, 4, 5, 16}, {1, 4, 70, 16}),   shapes({2, 4, 67, 20}, {2, 2, 67, 20}),
          shapes({1, 2, 131, 33}, {1, 1, 197, 33})};
}

/// An average of values up to 1 in magnitude that may cancel.
Tolerance average_tolerance(DType dtype) {
  if (dtype == DType::bf16) return {1.6e-2, 4e-3};
  if (dtype == DType::f16) return {1e-3, 5e-4};
  return tolerance_of(dtype);
}

OpCase attention_case(std::string name, bool causal, std::int64_t window) {
  const AttentionOptions options{.causal = causal, .window = window};
  return {.name = std::move(name),
          .inputs = {{.draw = uniform(-2, 2)}, {.draw = uniform(-2, 2)}, {.draw = uniform(-1, 1)}},
          .shapes = attention_shapes(),
          .op = [=](std::span<const Tensor> x) { return attention(x[0], x[1], x[2], options); },
          .reference =
              [=](std::span<const Array> in) {
                const std::int64_t offset = in[1].shape[2] - in[0].shape[2];
                return attend(in[0], in[1], in[2], default_scale(in[0]), by_position(causal, window, offset));
              },
          .tolerance = average_tolerance};
}

/// A fourth input is the mask.
OpCase masked_case(std::string name, std::optional<DType> mask_dtype, Draw draw, const Shape& small,
                   const Shape& large) {
  const bool logical = mask_dtype == DType::bool_;
  return {.name = std::move(name),
          .inputs = {{.draw = uniform(-2, 2)},
                     {.draw = uniform(-2, 2)},
                     {.draw = uniform(-1, 1)},
                     {.draw = std::move(draw), .dtype = mask_dtype}},
          .shapes = {{{2, 4, 3, 2}, {2, 2, 5, 2}, {2, 2, 5, 2}, small},
                     {{2, 4, 21, 18}, {2, 2, 75, 18}, {2, 2, 75, 18}, large}},
          .op = [](std::span<const Tensor> x) { return attention(x[0], x[1], x[2], {.scale = 0.5}, x[3]); },
          .reference =
              [=](std::span<const Array> in) {
                const Array& mask = in[3];
                return attend(in[0], in[1], in[2], 0.5,
                              [&](std::int64_t b, std::int64_t h, std::int64_t i, std::int64_t j) {
                                const std::int64_t at[] = {b, h, i, j};
                                std::int64_t index = 0;
                                for (int axis = 0; axis < mask.shape.rank(); ++axis)
                                  index = index * mask.shape[axis] +
                                          (mask.shape[axis] == 1 ? 0 : at[4 - mask.shape.rank() + axis]);
                                const double value = mask.values[static_cast<std::size_t>(index)];
                                if (logical) return value != 0 ? 0.0 : lowest;
                                return value;
                              });
              },
          .tolerance = average_tolerance};
}

const bool registered = register_op_cases(
    "Attention",
    {attention_case("full", false, 0), attention_case("causal", true, 0), attention_case("window", true, 3),
     attention_case("two_sided_window", false, 2),
     masked_case("logical_mask", DType::bool_, cycle({1, 0, 1, 1, 0, 1, 1}), {2, 1, 3, 5}, {2, 1, 21, 75}),
     masked_case("mask_that_hides_rows", DType::bool_, cycle({0, 0, 0, 0, 0, 0, 0, 1}), {2, 1, 3, 5},
                 {21, 75}),
     masked_case("key_mask", DType::bool_, cycle({0, 1, 1}), {2, 1, 1, 5}, {2, 1, 1, 75}),
     masked_case("added_mask", std::nullopt, uniform(-2, 1), {2, 1, 3, 5}, {4, 21, 75})});

struct Qkv {
  Array q;
  Array k;
  Array v;
};

Qkv draw(const Shape& q, const Shape& k, DType dtype) {
  std::mt19937_64 random(3);
  const auto fill = [&](const Shape& shape) {
    Array array{shape, {}};
    for (std::int64_t i = 0; i < shape.elements(); ++i) array.values.push_back(uniform(-1, 1)(random, 0));
    return rounded(array, dtype);
  };
  return {fill(q), fill(k), fill(k)};
}

TEST(Attention, TakesTheOffsetAsData) {
  for (DType dtype : {DType::f32, DType::f64, DType::bf16}) {
    const Qkv x = draw({1, 4, 5, 24}, {1, 2, 90, 24}, dtype);
    for (std::int64_t offset : {0, 3, 40, 85, 200, -3, -90}) {
      for (std::int64_t window : {0, 7}) {
        const Tensor out =
            attention(make_tensor(x.q, dtype), make_tensor(x.k, dtype), make_tensor(x.v, dtype),
                      {.causal = true, .window = window}, {}, Tensor::scalar(offset));
        expect_close(out, attend(x.q, x.k, x.v, default_scale(x.q), by_position(true, window, offset)),
                     average_tolerance(dtype),
                     fmt::format("{} offset {} window {}", name_of(dtype), offset, window));
      }
    }
  }
}

TEST(Attention, OfManyQueriesMatchesFloat64) {
  // Several tiles of queries and keys, the last of each in part, at every width that rows are rounded up to.
  struct Sizes {
    Shape q;
    Shape k;
  };
  for (const Sizes& s : {Sizes{{2, 4, 70, 64}, {2, 2, 150, 64}}, Sizes{{1, 2, 130, 128}, {1, 1, 66, 128}},
                         Sizes{{1, 2, 65, 200}, {1, 2, 97, 200}}, Sizes{{2, 6, 2, 64}, {2, 2, 300, 64}},
                         Sizes{{1, 7, 1, 128}, {1, 1, 4500, 128}}, Sizes{{1, 3, 40, 72}, {1, 1, 40, 72}}})
    for (DType dtype : {DType::bf16, DType::f16, DType::f32})
      for (bool causal : {false, true})
        for (std::int64_t window : {0, 50}) {
          const Qkv x = draw(s.q, s.k, dtype);
          const Tensor q = make_tensor(x.q, dtype);
          const Tensor k = make_tensor(x.k, dtype);
          const Tensor v = make_tensor(x.v, dtype);
          const std::int64_t offset = s.k[2] - s.q[2];
          const std::string context =
              fmt::format("{} {} causal {} window {}", name_of(dtype), s.q.str(), causal, window);
          const Bias visible = by_position(causal, window, offset);
          expect_close(attention(q, k, v, {.causal = causal, .window = window}),
                       attend(x.q, x.k, x.v, default_scale(x.q), visible), average_tolerance(dtype), context);
          // A mask that hides each fifth key from all queries, and all keys from each third query.
          Array mask{{s.q[2], s.k[2]}, {}};
          for (std::int64_t i = 0; i < s.q[2]; ++i)
            for (std::int64_t j = 0; j < s.k[2]; ++j) mask.values.push_back(i % 3 != 1 && j % 5 != 0 ? 1 : 0);
          const Bias masked = [&](std::int64_t b, std::int64_t h, std::int64_t i, std::int64_t j) {
            return mask.values[static_cast<std::size_t>(i * s.k[2] + j)] != 0 ? visible(b, h, i, j) : lowest;
          };
          expect_close(
              attention(q, k, v, {.causal = causal, .window = window}, make_tensor(mask, DType::bool_)),
              attend(x.q, x.k, x.v, default_scale(x.q), masked), average_tolerance(dtype),
              context + " masked");
        }
}

TEST(Attention, MasksOfTheLowestNumberHideNothingFromARowThatHasNoOther) {
  const Qkv x = draw({1, 2, 20, 64}, {1, 1, 40, 64}, DType::bf16);
  const Tensor mask = full({20, 40}, static_cast<double>(std::numeric_limits<float>::lowest()), DType::f32);
  const Tensor out = attention(make_tensor(x.q, DType::bf16), make_tensor(x.k, DType::bf16),
                               make_tensor(x.v, DType::bf16), {}, mask);
  // Every score is rounded to the mask: the average of all values.
  expect_close(out, attend(x.q, x.k, x.v, 0, by_position(false, 0, 0)), average_tolerance(DType::bf16),
               "lowest");
}

TEST(Attention, OffsetsBeyondAllKeysDoNotOverflow) {
  const Qkv x = draw({1, 1, 2, 4}, {1, 1, 3, 4}, DType::f32);
  const auto run = [&](std::int64_t offset) {
    return attention(make_tensor(x.q, DType::f32), make_tensor(x.k, DType::f32), make_tensor(x.v, DType::f32),
                     {.causal = true}, {}, Tensor::scalar(offset));
  };
  expect_close(run(std::numeric_limits<std::int64_t>::max()),
               attend(x.q, x.k, x.v, 0.5, by_position(false, 0, 0)), {1.3e-6, 1e-5}, "everything visible");
  expect_close(run(std::numeric_limits<std::int64_t>::min()), {{1, 1, 2, 4}, std::vector<double>(8, 0.0)}, {},
               "nothing visible");
}

TEST(Attention, ReadsHeadsOfAProjectionInPlace) {
  // [batch, length, heads, d] permuted, as a model has it, and a part of a longer cache of keys.
  const Qkv x = draw({2, 9, 4, 20}, {2, 2, 50, 20}, DType::f32);
  const Tensor q = permute(make_tensor(x.q, DType::f32), {0, 2, 1, 3});
  const Tensor k = slice(make_tensor(x.k, DType::f32), 2, 0, 33);
  const Tensor v = slice(make_tensor(x.v, DType::f32), 2, 0, 33);
  expect_close(attention(q, k, v, {.causal = true}),
               attend(read_tensor(q), read_tensor(k), read_tensor(v), default_scale(read_tensor(q)),
                      by_position(true, 0, 33 - 9)),
               {1.3e-6, 1e-5}, "views");
}

TEST(Attention, GradientOfHiddenRowsIsZeroAndNotNan) {
  const Tensor q = ones({1, 1, 2, 3});
  const Tensor k = ones({1, 1, 4, 3});
  const Tensor v = ones({1, 1, 4, 3});
  const Tensor mask = zeros({1, 1, 2, 4}, DType::bool_);
  for (const Tensor& g : grad(sum(attention(q, k, v, {}, mask)), {q, k, v}))
    for (float value : g.to_vector<float>()) EXPECT_EQ(value, 0.0f);
}

TEST(Attention, KeepsNan) {
  std::vector<float> values(70 * 8, 0.25f);
  values[3] = std::numeric_limits<float>::quiet_NaN();
  const Tensor k = Tensor::from(values, {1, 1, 70, 8});
  for (std::int64_t m : {1, 20})
    for (float y : attention(ones({1, 1, m, 8}), k, ones({1, 1, 70, 8})).to_vector<float>())
      EXPECT_TRUE(std::isnan(y)) << m;
}

TEST(Attention, IgnoresWhatLiesBehindTheVisibleKeys) {
  // A cache holds anything there.
  for (std::int64_t d : {64, 128}) {
    const Qkv x = draw({1, 2, 70, d}, {1, 1, 70, d}, DType::bf16);
    const auto lengthened = [&](const Array& rows) {
      const Tensor nothing = full({1, 1, 80, d}, std::numeric_limits<double>::quiet_NaN(), DType::bf16);
      return concat({make_tensor(rows, DType::bf16), nothing}, 2);
    };
    const Tensor out = attention(make_tensor(x.q, DType::bf16), lengthened(x.k), lengthened(x.v),
                                 {.causal = true}, {}, Tensor::scalar<std::int64_t>(0));
    expect_close(out, attend(x.q, x.k, x.v, default_scale(x.q), by_position(true, 0, 0)),
                 average_tolerance(DType::bf16), "NaN behind");
  }
}

TEST(Attention, WithoutKeysGivesZeros) {
  const std::vector<float> out =
      attention(ones({1, 2, 3, 4}), zeros({1, 2, 0, 4}), zeros({1, 2, 0, 4})).to_vector<float>();
  EXPECT_EQ(out, std::vector<float>(24, 0.0f));
}

TEST(Attention, ErrorsNameTheShapes) {
  const Tensor q = zeros({1, 4, 3, 8});
  const Tensor k = zeros({1, 2, 5, 8});
  expect_error<ShapeError>(
      [&] {
        attention(q, zeros({1, 3, 5, 8}), zeros({1, 3, 5, 8}));
      },
      {"attention: 4 query heads are no multiple of 3 key heads", "attention_test.cpp"});
  expect_error<ShapeError>(
      [&] {
        attention(q, k, zeros({1, 2, 6, 8}));
      },
      {"k is [1, 2, 5, 8], but v is [1, 2, 6, 8]"});
  expect_error<ShapeError>(
      [&] {
        attention(q, zeros({1, 2, 5, 4}), zeros({1, 2, 5, 4}));
      },
      {"q [1, 4, 3, 8] and k [1, 2, 5, 4] differ in batch or d"});
  expect_error<ShapeError>(
      [&] {
        attention(zeros({3, 8}), k, k);
      },
      {"must be [batch, heads, length, d], not [3, 8]"});
  expect_error<ShapeError>(
      [&] {
        attention(q, k, k, {}, zeros({3, 4}, DType::bool_));
      },
      {"the mask [3, 4] does not broadcast to [batch, heads, m, n] = [1, 4, 3, 5]"});
  expect_error<DTypeError>(
      [&] {
        attention(q, k, k, {}, zeros({3, 5}, DType::i64));
      },
      {"the mask must be bool or floating, not i64"});
  expect_error<ArgumentError>([&] { attention(q, k, k, {}, {}, zeros({1}, DType::i64)); },
                              {"the offset must be a rank-0 i64 tensor"});
  expect_error<ArgumentError>([&] { attention(q, k, k, {.window = -1}); },
                              {"the window must not be negative, it is -1"});
  expect_error<DTypeError>([&] { attention(q, cast(k, DType::bf16), cast(k, DType::bf16)); }, {"attention"});
}

}  // namespace
}  // namespace wick::test
