// Drawing a place of each row against its definition in float64.
#include "ops/categorical.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "ops/array_walk.h"
#include "wick/error.h"
#include "wick/ops.h"

namespace wick::test {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

/// The place, its share of the weights and its score.
std::vector<double> chosen(const std::vector<double>& scores, double temperature,
                           std::optional<double> share) {
  const auto highest = std::max_element(scores.begin(), scores.end());
  const auto weight = [&](double score) { return std::exp((score - *highest) / (share ? temperature : 1)); };
  double total = 0;
  for (const double score : scores) total += weight(score);
  auto place = highest;
  if (share) {
    double sum = 0;
    for (place = scores.begin(); place != scores.end(); ++place) {
      sum += weight(*place);
      if (weight(*place) > 0 && sum > *share * total) break;
    }
  }
  return {static_cast<double>(place - scores.begin()), weight(*place) / total, *place};
}

Array chosen_of_rows(const Array& scores, double temperature, std::optional<double> share) {
  Array result{Shape{scores.shape[0], 3}, {}};
  const auto n = static_cast<std::ptrdiff_t>(scores.shape[1]);
  for (auto row = scores.values.begin(); row != scores.values.end(); row += n) {
    const std::vector<double> of_row = chosen({row, row + n}, temperature, share);
    result.values.insert(result.values.end(), of_row.begin(), of_row.end());
  }
  return result;
}

/// Sums of a few thousand weights, in another order than the reference's.
Tolerance of_sums(DType) { return {.relative = 1e-13, .absolute = 0}; }

OpCase categorical_case(const std::string& name, double temperature, std::optional<double> share, Draw draw) {
  return {.name = name,
          .inputs = {{.draw = std::move(draw)}},
          .shapes = {{{1, 1}}, {{0, 5}}, {{3, 7}}, {{2, 256}}, {{2, 1024}}, {{3, 1025}}, {{1, 5003}}},
          .op =
              [=](std::span<const Tensor> x) {
                return share ? categorical(x[0], temperature, Tensor::scalar(*share))
                             : categorical(x[0], temperature);
              },
          .reference = [=](std::span<const Array> x) { return chosen_of_rows(x[0], temperature, share); },
          .output = DType::f64,
          .gradient = false,
          .tolerance = of_sums};
}

const bool registered = register_op_cases(
    "CategoricalOps",
    {categorical_case("likeliest", 0, {}, uniform(-4, 4)),
     categorical_case("likeliest_of_ties", 0, {}, integers(0, 3)),
     categorical_case("first", 1, 0.0, uniform(-4, 4)),
     categorical_case("last", 1, 1 - 0x1p-40, uniform(-4, 4)),
     categorical_case("cold", 0.1, 0.37, uniform(-4, 4)), categorical_case("hot", 7, 0.61, uniform(-4, 4)),
     categorical_case("far_apart", 1, 0.5, cycle({0, -900, -1.5, -20, -0.25, -700, -3}))});

std::vector<double> of_one_row(const std::vector<double>& scores, double temperature,
                               std::optional<double> share) {
  const Tensor x = make_tensor({Shape{1, static_cast<std::int64_t>(scores.size())}, scores}, DType::f64);
  return read_tensor(share ? categorical(x, temperature, Tensor::scalar(*share))
                           : categorical(x, temperature))
      .values;
}

/// Longer than a block's part, with whole parts of impossible places.
TEST(CategoricalOps, ImpossiblePlacesAreNeverDrawn) {
  std::vector<double> scores(5000, -infinity);
  scores[1500] = 2;
  scores[4200] = 2;
  EXPECT_EQ(of_one_row(scores, 1, 0.0), (std::vector<double>{1500, 0.5, 2}));
  EXPECT_EQ(of_one_row(scores, 1, 0.49), (std::vector<double>{1500, 0.5, 2}));
  EXPECT_EQ(of_one_row(scores, 1, 0.5), (std::vector<double>{4200, 0.5, 2}));
  EXPECT_EQ(of_one_row(scores, 1e-300, 0.99), (std::vector<double>{4200, 0.5, 2}));
  EXPECT_EQ(of_one_row(scores, 0, {}), (std::vector<double>{1500, 0.5, 2}));
}

TEST(CategoricalOps, WhereNothingCanBeDrawnTheShareIsNaN) {
  std::vector<double> scores(3000, 1.0);
  for (const double bad : {nan, infinity}) {
    scores[2100] = bad;
    for (const std::optional<double> share : {std::optional<double>{}, std::optional<double>{0.5}})
      EXPECT_TRUE(std::isnan(of_one_row(scores, share ? 1 : 0, share)[1]));
    EXPECT_EQ(of_one_row(scores, 0, {})[0], 2100);
  }
  const std::vector<double> none(3000, -infinity);
  EXPECT_TRUE(std::isnan(of_one_row(none, 0, {})[1]));
  EXPECT_TRUE(std::isnan(of_one_row(none, 2, 0.5)[1]));
}

TEST(CategoricalOps, ErrorsSayWhatIsWrong) {
  const Tensor scores = ones({2, 3});
  const Tensor share = Tensor::scalar(0.5);
  expect_error<ShapeError>(
      [&] { categorical(ones({3}), 0); },
      {"categorical: the scores must be [rows, n] with something to choose from, not [3]",
       "categorical_test.cpp:"});
  expect_error<ShapeError>([&] { categorical(ones({2, 0}), 0); }, {"not [2, 0]"});
  expect_error<DTypeError>(
      [&] {
        categorical(ones({2, 3}, DType::i64), 0);
      },
      {"floating-point dtypes, not i64"});
  expect_error<ArgumentError>([&] { categorical(scores, -1, share); },
                              {"the temperature must be a finite number of at least 0, not -1"});
  expect_error<ArgumentError>([&] { categorical(scores, 1); },
                              {"a draw takes a share and a temperature above 0"});
  expect_error<ArgumentError>([&] { categorical(scores, 0, share); }, {"the likeliest takes neither"});
  expect_error<ShapeError>([&] { categorical(scores, 1, Tensor::scalar(0.5f)); },
                           {"the share must be one f64 number, not f32 []"});
}

}  // namespace
}  // namespace wick::test
