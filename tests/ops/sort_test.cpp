#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "ops/array_walk.h"
#include "wick/error.h"
#include "wick/grad.h"
#include "wick/ops.h"

namespace wick::test {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

bool less_nan_last(double a, double b) { return std::isnan(b) ? !std::isnan(a) : a < b; }

/// The positions of a line in stable order.
std::vector<std::int64_t> order_of(const std::vector<double>& line, bool descending) {
  std::vector<std::int64_t> order(line.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    return descending ? less_nan_last(line[z(b)], line[z(a)]) : less_nan_last(line[z(a)], line[z(b)]);
  });
  return order;
}

/// Positions (or values) of the first `keep` of each sorted line.
Array sorted(const Array& x, int axis, bool descending, std::int64_t keep, bool positions) {
  const auto d = z(x.shape.normalize_axis(axis));
  return build(x.shape.with(axis, keep), [&](Position& at) {
    const std::int64_t place = at[d];
    std::vector<double> line;
    for (at[d] = 0; at[d] < x.shape.dim(axis); ++at[d]) line.push_back(element(x, at));
    const std::int64_t found = order_of(line, descending)[z(place)];
    return positions ? static_cast<double>(found) : line[z(found)];
  });
}

const std::vector<std::vector<Shape>> shapes{{{7}},    {{1}},       {{3, 5}},   {{2, 0}},
                                             {{0, 2}}, {{2, 3, 4}}, {{3, 9, 7}}};

OpCase argsort_case(const std::string& name, int axis, bool descending, Draw draw,
                    std::vector<DType> dtypes) {
  return {.name = name,
          .inputs = {{.draw = std::move(draw)}},
          .shapes = shapes,
          .op = [=](std::span<const Tensor> x) { return argsort(x[0], axis, descending); },
          .reference =
              [=](std::span<const Array> x) {
                return sorted(x[0], axis, descending, x[0].shape.dim(axis), true);
              },
          .dtypes = std::move(dtypes),
          .output = DType::i64,
          .gradient = false};
}

OpCase sort_case(const std::string& name, int axis, bool descending) {
  return {.name = name,
          .inputs = {{.draw = uniform(-9, 9)}},
          .shapes = shapes,
          .op = [=](std::span<const Tensor> x) { return sort(x[0], axis, descending); },
          .reference =
              [=](std::span<const Array> x) {
                return sorted(x[0], axis, descending, x[0].shape.dim(axis), false);
              },
          .tolerance = exact};
}

OpCase topk_case(const std::string& name, int axis, std::int64_t k) {
  OpCase op_case = sort_case(name, axis, true);
  op_case.shapes = {{{7, 6}}, {{4, 5, 6}}};
  op_case.op = [=](std::span<const Tensor> x) { return topk(x[0], k, axis).first; };
  op_case.reference = [=](std::span<const Array> x) { return sorted(x[0], axis, true, k, false); };
  return op_case;
}

const std::vector<DType> floats{DType::f64, DType::f32, DType::bf16, DType::f16};
const Draw special = cycle({0.0, -0.0, nan, 1, -infinity, 2, -1, infinity, -0.0, 1, nan, 0.0, -2});

const bool registered = register_op_cases(
    "SortOps",
    {argsort_case("argsort_ties", -1, false, integers(0, 3), all_dtypes),
     argsort_case("argsort_ties_descending", -1, true, integers(0, 3), all_dtypes),
     argsort_case("argsort_first", 0, false, integers(0, 90), all_dtypes),
     argsort_case("argsort_signed", -1, false, integers(-50, 50), {DType::i64, DType::i32}),
     argsort_case("argsort_signed_descending", 0, true, integers(-50, 50), {DType::i64, DType::i32}),
     argsort_case("argsort_special", -1, false, special, floats),
     argsort_case("argsort_special_descending", -1, true, special, floats), sort_case("sort", -1, false),
     sort_case("sort_descending", -1, true), sort_case("sort_first", 0, false), topk_case("topk", -1, 3),
     topk_case("topk_first", 0, 4), topk_case("topk_none", -1, 0)});

TEST(SortOps, ALongLineIsSorted) {
  constexpr std::int64_t count = 100003;
  std::vector<float> values(count);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = std::sin(static_cast<float>(i) * 1.7f) * 100;
  const Tensor x = Tensor::from(values, {count});
  std::vector<float> expected = values;
  std::stable_sort(expected.begin(), expected.end());
  EXPECT_EQ(sort(x).to_vector<float>(), expected);
  const auto [largest, positions] = topk(x, 5);
  EXPECT_EQ(largest.to_vector<float>(), std::vector<float>(expected.rbegin(), expected.rbegin() + 5));
  EXPECT_EQ(values[z(positions.to_vector<std::int64_t>()[0])], expected.back());
}

TEST(SortOps, ExtremeIntegersAreInOrder) {
  using Limits = std::numeric_limits<std::int64_t>;
  const Tensor x = Tensor::from(std::vector<std::int64_t>{0, Limits::max(), Limits::min(), -1}, {4});
  EXPECT_EQ(argsort(x).to_vector<std::int64_t>(), (std::vector<std::int64_t>{2, 3, 0, 1}));
  EXPECT_EQ(argsort(x, 0, true).to_vector<std::int64_t>(), (std::vector<std::int64_t>{1, 0, 3, 2}));
}

TEST(SortOps, ErrorsSayWhatIsWrong) {
  const Tensor x = ones({2, 3});
  expect_error<ShapeError>([&] { argsort(x, 2); },
                           {"argsort: axis 2 is out of range for shape [2, 3]", "sort_test.cpp:"});
  expect_error<ShapeError>([&] { sort(Tensor::scalar(1.0f)); }, {"axis -1 is out of range for shape []"});
  expect_error<ArgumentError>([&] { topk(x, 4); },
                              {"topk: k is 4, but axis -1 has 3 elements", "sort_test.cpp:"});
  expect_error<ArgumentError>([&] { topk(x, -1, 0); }, {"k is -1, but axis 0 has 2"});
}

}  // namespace
}  // namespace wick::test
