#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/op_harness.h"
#include "optimize/decompose_scope.h"
#include "wick/error.h"
#include "wick/grad.h"
#include "wick/ops.h"

namespace wick::test {
namespace {

struct Loss {
  double sum = 0;
  double counted = 0;
};

/// By the definition, class by class.
Loss reference_loss(const Array& logits, const Array& targets, double ignore_index, double smoothing) {
  const auto classes = static_cast<std::size_t>(logits.shape.dim(-1));
  Loss loss;
  for (std::size_t row = 0; row < targets.values.size(); ++row) {
    if (targets.values[row] == ignore_index) continue;
    const auto first = logits.values.begin() + static_cast<std::ptrdiff_t>(row * classes);
    const std::vector<double> x(first, first + static_cast<std::ptrdiff_t>(classes));
    double sum = 0;
    for (double v : x) sum += std::exp(v);
    for (std::size_t c = 0; c < classes; ++c) {
      const double weight = smoothing / static_cast<double>(classes) +
                            (static_cast<double>(c) == targets.values[row] ? 1 - smoothing : 0);
      loss.sum -= weight * (x[c] - std::log(sum));
    }
    loss.counted += 1;
  }
  return loss;
}

std::vector<std::vector<Shape>> loss_shapes() {
  return {{{3}, Shape{}}, {{1, 3}, {1}},     {{7, 3}, {7}},   {{2, 5, 7}, {2, 5}},
          {{0, 3}, {0}},  {{37, 131}, {37}}, {{5, 1031}, {5}}};
}

/// Target 2 is ignored in half of the cases; every class below 3 exists in all shapes.
OpCase loss_case(std::string name, std::int64_t ignore_index, double smoothing, DType targets) {
  return {.name = std::move(name),
          .inputs = {{.draw = uniform(-3, 3)}, {.draw = cycle({0, 2, 1, 2, 0, 1, 1}), .dtype = targets}},
          .shapes = loss_shapes(),
          .op =
              [=](std::span<const Tensor> x) {
                return cast(cross_entropy_sum(x[0], x[1], ignore_index, smoothing), DType::f64);
              },
          .reference =
              [=](std::span<const Array> in) {
                return Array{
                    Shape{},
                    {reference_loss(in[0], in[1], static_cast<double>(ignore_index), smoothing).sum}};
              },
          .output = DType::f64,
          .broadcast_views = false,
          // The result is f32 also for the narrower logits.
          .tolerance =
              [](DType) {
                return Tolerance{1.3e-6, 1e-5};
              }};
}

const bool registered = register_op_cases(
    "CrossEntropy",
    {loss_case("plain", -100, 0, DType::i64), loss_case("ignoring", 2, 0, DType::i64),
     loss_case("smoothed", -100, 0.1, DType::i32), loss_case("smoothed_ignoring", 2, 0.3, DType::i64)});

Tensor some_logits() { return Tensor::from<float>({1, 2, 3, 0, -1, 4, 2, 2, 2, 5, 0, 1}, {4, 3}); }

TEST(CrossEntropy, IsTheMeanOverCountedTargets) {
  const Array logits = read_tensor(some_logits());
  const Loss loss = reference_loss(logits, {{4}, {2, -100, 0, 1}}, -100, 0);
  const Tensor targets = Tensor::from<std::int64_t>({2, -100, 0, 1}, {4});
  EXPECT_NEAR(cross_entropy(some_logits(), targets).item<float>(), loss.sum / loss.counted, 1e-6);
}

TEST(CrossEntropy, IsZeroWhenEveryTargetIsIgnored) {
  const Tensor logits = some_logits();
  const Tensor loss = cross_entropy(logits, full({4}, -100, DType::i64));
  EXPECT_EQ(loss.item<float>(), 0.0f);
  EXPECT_EQ(grad(loss, {logits})[0].to_vector<float>(), std::vector<float>(12, 0.0f));
}

TEST(CrossEntropy, GradientOf16BitLogitsMatchesF64) {
  for (DType dtype : {DType::bf16, DType::f16}) {
    const Array values = rounded(read_tensor(some_logits()), dtype);
    const Tensor targets = Tensor::from<std::int64_t>({2, 0, -100, 1}, {4});
    const Tensor narrow = make_tensor(values, dtype);
    const Tensor wide = make_tensor(values, DType::f64);
    const Tensor gradient = grad(cross_entropy_sum(narrow, targets, -100, 0.1), {narrow})[0];
    EXPECT_EQ(gradient.dtype(), dtype);
    expect_close(gradient, read_tensor(grad(cross_entropy_sum(wide, targets, -100, 0.1), {wide})[0]),
                 {tolerance_of(dtype).relative, 1e-4}, "gradient");
  }
}

TEST(CrossEntropy, KeepsNanAndInfinity) {
  for (float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    std::vector<float> logits(40, 0.5f);
    logits[30] = bad;
    const Tensor x = Tensor::from(logits, {1, 40});
    const Tensor loss = cross_entropy(x, zeros({1}, DType::i64));
    EXPECT_FALSE(std::isfinite(loss.item<float>())) << bad;
    EXPECT_FALSE(std::isfinite(sum(grad(loss, {x})[0]).item<float>())) << bad;
  }
}

TEST(CrossEntropy, ReportsTargetsOutOfRange) {
  for (std::int64_t bad : {std::int64_t{3}, std::int64_t{-1}}) {
    const Tensor targets = Tensor::from<std::int64_t>({0, 1, bad, -100}, {4});
    expect_error<ArgumentError>([&] { cross_entropy_sum(some_logits(), targets).eval(); },
                                {"cross_entropy_sum: target " + std::to_string(bad) + " at position 2",
                                 "neither one of the 3 classes nor the ignored -100"});
    const DecomposeScope decompose;
    expect_error<ArgumentError>([&] { cross_entropy_sum(some_logits(), targets).eval(); }, {"3"});
  }
}

TEST(CrossEntropy, ErrorsNameTheShapes) {
  const Tensor targets = zeros({4}, DType::i64);
  expect_error<ShapeError>(
      [&] {
        cross_entropy_sum(zeros({3, 5}), targets);
      },
      {"targets must be [3], the logits' shape without its last dimension, not [4]",
       "cross_entropy_test.cpp"});
  expect_error<DTypeError>(
      [&] {
        cross_entropy_sum(zeros({4, 5}), zeros({4}));
      },
      {"targets must be i32 or i64, not f32"});
  expect_error<ShapeError>([&] { cross_entropy_sum(zeros({4, 0}), targets); }, {"at least one class"});
  expect_error<ArgumentError>(
      [&] {
        cross_entropy_sum(zeros({4, 5}), targets, -100, 1.5);
      },
      {"label smoothing must lie in [0, 1], it is 1.5"});
}

}  // namespace
}  // namespace wick::test
