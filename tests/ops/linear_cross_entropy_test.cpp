#include "ops/linear_cross_entropy.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "ops/op_harness.h"
#include "optimize/decompose_scope.h"
#include "wick/error.h"
#include "wick/eval.h"
#include "wick/grad.h"
#include "wick/ops.h"

namespace wick::test {
namespace {

constexpr std::int64_t ignored = -100;

/// Loss and gradients by the definition, in float64.
struct Expected {
  double loss = 0;
  Array hidden;
  Array weight;
};

Expected reference(const Array& hidden, const Array& weight, const std::vector<std::int64_t>& targets,
                   double smoothing) {
  const auto classes = static_cast<std::size_t>(weight.shape[0]);
  const auto d = static_cast<std::size_t>(weight.shape[1]);
  Expected e{0,
             {hidden.shape, std::vector<double>(hidden.values.size())},
             {weight.shape, std::vector<double>(weight.values.size())}};
  for (std::size_t row = 0; row < targets.size(); ++row) {
    if (targets[row] == ignored) continue;
    std::vector<double> logits(classes, 0.0);
    double norm = 0;
    for (std::size_t c = 0; c < classes; ++c) {
      for (std::size_t i = 0; i < d; ++i) logits[c] += hidden.values[row * d + i] * weight.values[c * d + i];
      norm += std::exp(logits[c]);
    }
    for (std::size_t c = 0; c < classes; ++c) {
      const double share = smoothing / static_cast<double>(classes) +
                           (static_cast<std::int64_t>(c) == targets[row] ? 1 - smoothing : 0);
      e.loss -= share * (logits[c] - std::log(norm));
      const double by_logit = std::exp(logits[c]) / norm - share;
      for (std::size_t i = 0; i < d; ++i) {
        e.hidden.values[row * d + i] += by_logit * weight.values[c * d + i];
        e.weight.values[c * d + i] += by_logit * hidden.values[row * d + i];
      }
    }
  }
  return e;
}

Array random_array(const Shape& shape, std::uint64_t seed, double scale) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> draw(0, scale);
  Array a{shape, {}};
  for (std::int64_t i = 0; i < shape.elements(); ++i) a.values.push_back(draw(random));
  return a;
}

Array transposed(const Array& matrix) {
  const std::int64_t rows = matrix.shape[0];
  const std::int64_t columns = matrix.shape[1];
  Array result{{columns, rows}, {}};
  for (std::int64_t j = 0; j < columns; ++j)
    for (std::int64_t i = 0; i < rows; ++i)
      result.values.push_back(matrix.values[static_cast<std::size_t>(i * columns + j)]);
  return result;
}

/// Every third target is ignored.
std::vector<std::int64_t> some_targets(std::int64_t rows, std::int64_t classes) {
  std::vector<std::int64_t> targets;
  for (std::int64_t row = 0; row < rows; ++row)
    targets.push_back(row % 3 == 2 ? ignored : (row * 7919 + classes - 1) % classes);
  return targets;
}

struct Sizes {
  std::int64_t rows;
  std::int64_t classes;
  std::int64_t d;
};

/// Of a weight [classes, d], or [d, classes] when it is `transposed`.
Tensor loss_sum(const Tensor& hidden, const Tensor& weight, const Tensor& targets, double smoothing,
                bool transposed) {
  if (!transposed) return linear_cross_entropy_sum(hidden, weight, targets, ignored, smoothing);
  return record_loss_sum(hidden, weight, targets, {{ignored, smoothing}, 1});
}

/// The gradients' terms cancel, down to 0 for one class: their tolerance is relative to the largest element,
/// and 1e-8 beside it.
void check_lying(bool flips, const Sizes& size, DType hidden_dtype, DType weight_dtype, double smoothing,
                 double loss_tolerance, double gradient_tolerance) {
  SCOPED_TRACE(::testing::Message() << size.rows << " rows, " << size.classes << " classes, d " << size.d
                                    << ", " << name_of(hidden_dtype) << " by " << name_of(weight_dtype)
                                    << ", smoothing " << smoothing << (flips ? ", transposed" : ""));
  const Array h = rounded(random_array({size.rows, size.d}, 1, 1), hidden_dtype);
  const Array w = rounded(random_array({size.classes, size.d}, 2, 0.5), weight_dtype);
  const std::vector<std::int64_t> t = some_targets(size.rows, size.classes);
  const Expected expected = reference(h, w, t, smoothing);
  const Tensor hidden = make_tensor(h, hidden_dtype);
  const Tensor weight = make_tensor(flips ? transposed(w) : w, weight_dtype);
  const Tensor loss = loss_sum(hidden, weight, Tensor::from(t, {size.rows}), smoothing, flips);
  const std::vector<Tensor> gradients = grad(loss * 0.5, {hidden, weight});
  EXPECT_EQ(gradients[0].dtype(), hidden_dtype);
  EXPECT_EQ(gradients[1].dtype(), weight_dtype);
  const auto near = [&](const Tensor& actual, Array e, const char* name) {
    double largest = 0;
    for (double& v : e.values) largest = std::max(largest, std::abs(v *= 0.5));
    expect_close(actual, e, {gradient_tolerance, gradient_tolerance * largest + 1e-8}, name);
  };
  near(gradients[0], expected.hidden, "hidden");
  near(gradients[1], flips ? transposed(expected.weight) : expected.weight, "weight");
  EXPECT_NEAR(cast(loss, DType::f64).item<double>(), expected.loss, loss_tolerance * (1 + expected.loss));
  // The loss alone is another kernel.
  const Tensor again = loss_sum(hidden, weight, Tensor::from(t, {size.rows}), smoothing, flips);
  EXPECT_NEAR(cast(again, DType::f64).item<double>(), expected.loss, loss_tolerance * (1 + expected.loss));
}

void check(const Sizes& size, DType hidden_dtype, DType weight_dtype, double smoothing, double loss_tolerance,
           double gradient_tolerance) {
  for (const bool flips : {false, true})
    check_lying(flips, size, hidden_dtype, weight_dtype, smoothing, loss_tolerance, gradient_tolerance);
}

/// Sizes that are not multiples of anything, of one row and one class, and across the boundaries of row
/// blocks (512) and chunks of classes (512).
constexpr Sizes sizes[] = {{1, 1, 1},     {1, 2, 3},     {7, 5, 3},      {5, 67, 17},    {3, 2048, 8},
                           {4, 2049, 16}, {6, 5003, 24}, {1031, 131, 8}, {770, 2100, 4}, {290, 600, 264}};

TEST(LinearCrossEntropy, MatchesTheDefinitionInF32) {
  for (const Sizes& size : sizes)
    for (double smoothing : {0.0, 0.1}) check(size, DType::f32, DType::f32, smoothing, 2e-6, 1e-5);
}

/// Products of bf16 numbers are exact in f32, but the probabilities are rounded to bf16 (2^-9) between the
/// products.
TEST(LinearCrossEntropy, MatchesTheDefinitionInBf16) {
  for (const Sizes& size : sizes)
    for (double smoothing : {0.0, 0.1}) check(size, DType::bf16, DType::bf16, smoothing, 1e-5, 1e-2);
}

TEST(LinearCrossEntropy, TakesNarrowWeightsBesideF32) {
  for (DType narrow : {DType::bf16, DType::f16}) check({37, 2100, 20}, DType::f32, narrow, 0.1, 2e-6, 1e-2);
}

TEST(LinearCrossEntropy, DecomposesEverywhere) {
  check({7, 11, 5}, DType::f64, DType::f64, 0.2, 1e-12, 1e-12);
  check({7, 11, 5}, DType::f16, DType::f16, 0.2, 1e-5, 2e-3);
  const DecomposeScope decompose;
  for (DType dtype : {DType::f32, DType::bf16})
    check({37, 131, 9}, dtype, dtype, 0.1, 1e-5, dtype == DType::f32 ? 1e-5 : 1e-2);
}

TEST(LinearCrossEntropy, GradientMatchesFiniteDifferences) {
  const Tensor targets = Tensor::from<std::int64_t>({4, ignored, 1}, {3});
  for (const bool flips : {false, true}) {
    const Array h = random_array({3, 4}, 3, 1);
    const Array w = random_array(flips ? Shape{4, 5} : Shape{5, 4}, 4, 1);
    const auto loss = [&](const Array& hidden, const Array& weight) {
      return loss_sum(make_tensor(hidden, DType::f64), make_tensor(weight, DType::f64), targets, 0.1, flips);
    };
    const Tensor hidden = make_tensor(h, DType::f64);
    const Tensor weight = make_tensor(w, DType::f64);
    const std::vector<Tensor> gradients =
        grad(loss_sum(hidden, weight, targets, 0.1, flips), {hidden, weight});
    constexpr double step = 1e-6;
    for (int which : {0, 1}) {
      const std::vector<double> found = gradients[static_cast<std::size_t>(which)].to_vector<double>();
      for (std::size_t i = 0; i < found.size(); ++i) {
        Array moved[2][2] = {{h, w}, {h, w}};
        moved[0][which].values[i] += step;
        moved[1][which].values[i] -= step;
        const double above = loss(moved[0][0], moved[0][1]).item<double>();
        const double below = loss(moved[1][0], moved[1][1]).item<double>();
        const double slope = (above - below) / (2 * step);
        EXPECT_NEAR(found[i], slope, 1e-5 + 1e-3 * std::abs(slope)) << which << " " << i;
      }
    }
  }
}

TEST(LinearCrossEntropy, EqualsCrossEntropyOfTheLogits) {
  const Tensor hidden = make_tensor(random_array({2, 9, 6}, 5, 1), DType::f32);
  const Tensor weight = make_tensor(random_array({13, 6}, 6, 1), DType::f32);
  const Tensor targets = Tensor::from(some_targets(18, 13), {2, 9});
  EXPECT_NEAR(linear_cross_entropy(hidden, weight, targets).item<float>(),
              cross_entropy(linear(hidden, weight), targets).item<float>(), 1e-5);
}

TEST(LinearCrossEntropy, NothingToLearnGivesZero) {
  for (std::int64_t rows : {0, 4}) {
    const Tensor hidden = make_tensor(random_array({rows, 6}, 7, 1), DType::f32);
    const Tensor weight = make_tensor(random_array({5, 6}, 8, 1), DType::f32);
    const Tensor targets = full({rows}, ignored, DType::i64);
    for (const Tensor& loss : {linear_cross_entropy(hidden, weight, targets),
                               loss_sum(hidden, reshape(weight, {6, 5}), targets, 0, true)}) {
      const std::vector<Tensor> gradients = grad(loss, {hidden, weight});
      EXPECT_EQ(loss.item<float>(), 0.0f);
      EXPECT_EQ(gradients[0].to_vector<float>(),
                std::vector<float>(static_cast<std::size_t>(rows * 6), 0.0f));
      EXPECT_EQ(gradients[1].to_vector<float>(), std::vector<float>(30, 0.0f));
    }
  }
}

TEST(LinearCrossEntropy, KeepsNanAndInfinity) {
  for (float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    Array w = random_array({40, 3}, 9, 1);
    w.values[90] = static_cast<double>(bad);
    const Tensor hidden = ones({2, 3});
    const Tensor loss = linear_cross_entropy(hidden, make_tensor(w, DType::f32), zeros({2}, DType::i64));
    EXPECT_FALSE(std::isfinite(loss.item<float>())) << bad;
    EXPECT_FALSE(std::isfinite(sum(grad(loss, {hidden})[0]).item<float>())) << bad;
  }
}

TEST(LinearCrossEntropy, LargeLogitsDoNotOverflow) {
  const Tensor hidden = full({1, 1}, 1e4, DType::f32);
  const Tensor weight = Tensor::from<float>({-1, 0.5, 1}, {3, 1});
  const Tensor loss = linear_cross_entropy(hidden, weight, Tensor::from<std::int64_t>({1}, {1}));
  EXPECT_NEAR(loss.item<float>(), 5000.0f, 1e-2f);
}

TEST(LinearCrossEntropy, HoldsNoLogits) {
  const Tensor hidden = make_tensor(random_array({512, 8}, 10, 1), DType::f32);
  const Tensor weight = random_normal(random_key(1), {100000, 8}).eval().detach();
  const Tensor targets = zeros({512}, DType::i64);
  reset_peak_bytes();
  const Tensor loss = linear_cross_entropy(hidden, weight, targets);
  eval({loss, grad(loss, {hidden})[0]});
  EXPECT_LT(peak_bytes(), 512u * 100000u * 4u / 8u);
}

TEST(LinearCrossEntropy, ErrorsNameTheShapes) {
  const Tensor hidden = zeros({4, 3});
  const Tensor targets = zeros({4}, DType::i64);
  expect_error<ShapeError>(
      [&] {
        linear_cross_entropy_sum(hidden, zeros({5, 2}), targets);
      },
      {"x has 3 features, the weight takes 2"});
  expect_error<ShapeError>(
      [&] {
        linear_cross_entropy_sum(hidden, zeros({0, 3}), targets);
      },
      {"at least one class"});
  expect_error<ShapeError>(
      [&] {
        linear_cross_entropy_sum(hidden, zeros({5, 3}), zeros({3}, DType::i64));
      },
      {"targets must be [4], hidden's shape without its last dimension, not [3]",
       "linear_cross_entropy_test.cpp"});
  expect_error<DTypeError>(
      [&] {
        linear_cross_entropy_sum(hidden, zeros({5, 3}), zeros({4}));
      },
      {"targets must be i32 or i64, not f32"});
  expect_error<ArgumentError>(
      [&] {
        linear_cross_entropy_sum(hidden, zeros({5, 3}), full({4}, 5, DType::i64)).eval();
      },
      {"target 5 at position 0 is neither one of the 5 classes nor the ignored -100"});
}

}  // namespace
}  // namespace wick::test
