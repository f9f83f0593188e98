#include <gtest/gtest.h>

#include "op_harness.h"
#include "wick/error.h"
#include "wick/ops.h"

namespace wick::test {
namespace {

Array total_of_squares(std::span<const Array> inputs) {
  double total = 0;
  for (const Array& input : inputs)
    for (double value : input.values) total += value * value;
  return {Shape{}, {total}};
}

const bool registered = register_op_cases(
    "SumOfSquares",
    {{.name = "sum_of_squares",
      .inputs = {{.draw = uniform(-2, 2)}, {.draw = uniform(-2, 2)}, {.draw = uniform(-2, 2)}},
      .shapes =
          {{{3, 5}, {7}, {}}, {{0, 4}, {1, 1}, {2, 0}}, {{0}, {0}, {0}}, {{129, 131}, {70001}, {2, 3, 5}}},
      .op = [](std::span<const Tensor> x) { return sum_of_squares(x); },
      .reference = total_of_squares,
      .dtypes = {DType::f64, DType::f32}}});

TEST(SumOfSquares, OfMoreTensorsThanALaunchTakesAndOfUnalignedOnes) {
  const Tensor buffer = random_uniform(random_key(3), {40000}).eval();
  std::vector<Tensor> parts;
  double expected = 0;
  const std::vector<float> values = buffer.to_vector<float>();
  for (std::int64_t i = 0; i < 400; ++i) {
    parts.push_back(slice(buffer, 0, i, 50 * i + 1));
    for (std::int64_t k = i; k < 50 * i + 1; ++k)
      expected +=
          static_cast<double>(values[static_cast<std::size_t>(k)]) * values[static_cast<std::size_t>(k)];
  }
  const Tensor total = sum_of_squares(parts);
  EXPECT_NEAR(total.item<float>(), expected, 1.3e-6 * expected);
}

TEST(SumOfSquares, WhatItDoesNotTakeIsSaid) {
  const Tensor narrow = ones({2}, DType::bf16);
  expect_error<DTypeError>([&] { sum_of_squares(std::vector<Tensor>{narrow}); },
                           {"must be f32 or f64, not bf16"});
  expect_error<ArgumentError>([] { sum_of_squares(std::vector<Tensor>{}); }, {"nothing to sum"});
}

}  // namespace
}  // namespace wick::test
