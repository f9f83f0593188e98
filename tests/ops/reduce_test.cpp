#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>

#include "ops/array_walk.h"
#include "support/test_device.h"
#include "wick/device.h"
#include "wick/error.h"
#include "wick/grad.h"
#include "wick/ops.h"

namespace wick::test {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

using Numbers = std::vector<double>;
using Axes = std::vector<int>;

/// Collects, for each result, the elements that go into it, in row-major order, and applies f to them.
Array reduced(const Array& x, const Axes& axes, bool keep, const std::function<double(const Numbers&)>& f) {
  std::set<int> gone;
  for (int axis : axes) gone.insert(x.shape.normalize_axis(axis));
  if (axes.empty())
    for (int axis = 0; axis < x.shape.rank(); ++axis) gone.insert(axis);
  std::vector<std::int64_t> dims;
  std::vector<std::int64_t> thin;
  for (int axis = 0; axis < x.shape.rank(); ++axis) {
    thin.push_back(gone.count(axis) ? 1 : x.shape[axis]);
    if (keep || !gone.count(axis)) dims.push_back(thin.back());
  }
  const Shape kept{std::span<const std::int64_t>(thin)};
  std::vector<Numbers> groups(z(kept.elements()));
  for_each_position(x.shape, [&](Position& at) {
    const double value = element(x, at);
    for (int axis : gone) at[z(axis)] = 0;
    std::int64_t index = 0;
    for (int d = 0; d < kept.rank(); ++d) index = index * kept[d] + at[z(d)];
    groups[z(index)].push_back(value);
  });
  Array result{Shape(std::span<const std::int64_t>(dims)), {}};
  for (const Numbers& group : groups) result.values.push_back(f(group));
  return result;
}

using Reduction = Tensor (*)(const Tensor&, const std::vector<int>&, bool, SourceLocation);

double sum_reference(const Numbers& x) { return std::accumulate(x.begin(), x.end(), 0.0); }
double mean_reference(const Numbers& x) { return sum_reference(x) / static_cast<double>(x.size()); }
double max_reference(const Numbers& x) { return *std::max_element(x.begin(), x.end()); }
double min_reference(const Numbers& x) { return *std::min_element(x.begin(), x.end()); }
double logsumexp_reference(const Numbers& x) {
  double total = 0;
  for (double v : x) total += std::exp(v);
  return std::log(total);
}

struct Run {
  std::string name;
  Axes axes;
  bool keep;
  std::vector<std::vector<Shape>> shapes;
};

/// Rows, columns, the middle, everything; none of it a multiple of anything. Some are large enough for
/// several threads.
std::vector<Run> runs(bool empty_too) {
  std::vector<Run> list{
      {"all", {}, false, {{Shape{}}, {{1}}, {{7}}, {{3, 5}}, {{2, 3, 4, 5}}, {{301, 509}}}},
      {"all_kept", {}, true, {{{3, 5}}, {{2, 1, 3}}}},
      {"rows", {-1}, false, {{{5}}, {{3, 7}}, {{2, 3, 1}}, {{5, 1031}}, {{1031, 5}}, {{2, 70001}}}},
      {"rows_kept", {1}, true, {{{3, 7}}, {{1, 1}}}},
      {"columns",
       {0},
       false,
       {{{3, 7}}, {{1, 5}}, {{5, 3, 4}}, {{1031, 37}}, {{3001, 9}}, {{70, 777}}, {{3001, 2}}}},
      {"middle", {1}, false, {{{2, 3, 5}}, {{4, 131, 67}}, {{3, 9, 1}}}},
      {"outer_and_inner", {0, -1}, true, {{{2, 3, 5}}, {{17, 33, 65}}}},
      {"two_inner", {1, 2}, false, {{{2, 3, 5}}, {{7, 65, 129}}}},
      {"alternating", {0, 2}, false, {{{2, 3, 4, 5}}, {{9, 5, 17, 33}}}}};
  if (empty_too) {
    list.push_back({"empty", {0}, false, {{{0, 3}}}});
    list.push_back({"empty_all", {}, false, {{{0}}}});
  }
  list.push_back({"no_results", {1}, false, {{{0, 3}}}});
  return list;
}

void add_cases(std::vector<OpCase>& cases, const std::string& name, Reduction op,
               const std::function<double(const Numbers&)>& reference, bool empty_too,
               const OpCase& pattern) {
  for (const Run& run : runs(empty_too)) {
    OpCase op_case = pattern;
    op_case.name = name + "_" + run.name;
    op_case.shapes = run.shapes;
    op_case.op = [=](std::span<const Tensor> x) {
      return op(x[0], run.axes, run.keep, SourceLocation::current());
    };
    op_case.reference = [=](std::span<const Array> x) {
      return reduced(x[0], run.axes, run.keep, reference);
    };
    cases.push_back(std::move(op_case));
  }
}

OpCase pattern(Draw draw, std::vector<DType> dtypes = {DType::f64, DType::f32, DType::bf16, DType::f16}) {
  const bool gradient = dtypes[0] == DType::f64;
  return {.name = {},
          .inputs = {{.draw = std::move(draw)}},
          .shapes = {},
          .op = {},
          .reference = {},
          .dtypes = std::move(dtypes),
          .gradient = gradient};
}

std::vector<OpCase> reduction_cases() {
  std::vector<OpCase> cases;
  add_cases(cases, "sum", sum, sum_reference, true, pattern(uniform(-1, 2)));
  add_cases(cases, "sum_integers", sum, sum_reference, true,
            pattern(integers(-9, 9), {DType::i64, DType::i32}));
  OpCase small = pattern(integers(0, 1), {DType::u8, DType::bool_});
  small.output = DType::i64;
  add_cases(cases, "sum_small", sum, sum_reference, true, small);
  add_cases(cases, "mean", mean, mean_reference, false, pattern(uniform(-1, 2)));
  add_cases(cases, "max", max, max_reference, false, pattern(uniform(-3, 3)));
  add_cases(cases, "min", min, min_reference, false, pattern(uniform(-3, 3)));
  const std::vector<DType> whole{DType::i64, DType::i32, DType::u8, DType::bool_};
  add_cases(cases, "max_integers", max, max_reference, false, pattern(integers(0, 90), whole));
  add_cases(cases, "min_integers", min, min_reference, false, pattern(integers(0, 90), whole));
  add_cases(cases, "logsumexp", logsumexp, logsumexp_reference, true, pattern(uniform(-5, 5)));
  return cases;
}

/// The first position for which no other element is better.
double first_best(const Numbers& x, bool largest) {
  std::size_t best = 0;
  for (std::size_t i = 1; i < x.size(); ++i)
    if (largest ? x[i] > x[best] : x[i] < x[best]) best = i;
  return static_cast<double>(best);
}

OpCase arg_case(const std::string& name, bool largest, int axis, bool keep) {
  OpCase op_case = pattern(integers(0, 20), all_dtypes);
  op_case.name = name;
  op_case.gradient = false;
  op_case.output = DType::i64;
  op_case.shapes = {{{2, 3, 5}}, {{1, 1, 1}}, {{3, 129, 67}}, {{0, 3, 2}}};
  op_case.op = [=](std::span<const Tensor> x) {
    return largest ? argmax(x[0], axis, keep) : argmin(x[0], axis, keep);
  };
  op_case.reference = [=](std::span<const Array> x) {
    return reduced(x[0], {axis}, keep, [=](const Numbers& group) { return first_best(group, largest); });
  };
  return op_case;
}

OpCase cumsum_case(const std::string& name, int axis, OpCase op_case) {
  op_case.name = name;
  op_case.shapes = {{{2, 3, 5}}, {{1, 1, 7}}, {{2, 0, 3}}, {{3, 129, 67}}};
  op_case.op = [=](std::span<const Tensor> x) { return cumsum(x[0], axis); };
  op_case.reference = [=](std::span<const Array> x) {
    Array result = x[0];
    const auto d = z(result.shape.normalize_axis(axis));
    for_each_position(result.shape, [&](Position& at) {
      double& value = element(result, at);
      if (at[d]-- > 0) value += element(result, at);
    });
    return result;
  };
  return op_case;
}

const bool registered = register_op_cases("ReduceOps", reduction_cases());
const bool others_registered = register_op_cases(
    "ReduceOps",
    {arg_case("argmax_last", true, -1, false), arg_case("argmax_middle", true, 1, true),
     arg_case("argmin_last", false, 2, true), arg_case("argmin_middle", false, 1, false),
     cumsum_case("cumsum_last", -1, pattern(uniform(-1, 1))),
     cumsum_case("cumsum_first", 0, pattern(uniform(-1, 1))),
     cumsum_case("cumsum_middle", 1, pattern(uniform(-1, 1))),
     cumsum_case("cumsum_integers", 1, pattern(integers(0, 1), {DType::i64, DType::i32, DType::u8}))});

Tensor doubles(const Numbers& values, const Shape& shape) { return Tensor::from(values, shape); }

TEST(ReduceOps, SumsOfManyFloatsStayAccurate) {
  constexpr std::int64_t rows = 1000003;
  std::vector<float> values(rows * 4);
  double exact_sum = 0;
  Numbers columns(4);
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = 0.1f + 1e-3f * static_cast<float>(i % 7);
    exact_sum += static_cast<double>(values[i]);
    columns[i % 4] += static_cast<double>(values[i]);
  }
  const Tensor x = Tensor::from(values, {rows, 4});
  // One rounding to f32 at the end, and little more: half a unit in the last place is 6e-8.
  EXPECT_NEAR(static_cast<double>(sum(x).item<float>()) / exact_sum, 1, 1.5e-7);
  expect_close(sum(x, {0}), {{4}, columns}, {1.5e-7, 0}, "columns");
  expect_close(sum(transpose(x), {1}), {{4}, columns}, {1.5e-7, 0}, "strided rows");
  expect_close(slice(cumsum(x, 0), 0, rows - 1, rows), {{1, 4}, columns}, {1.5e-7, 0}, "cumsum");
}

/// Long enough to be added up in parts; the sums are whole numbers that f32 holds.
TEST(ReduceOps, RunningSumsOfLongLinesAreExact) {
  const Shape shape{2, 5003, 3};
  std::vector<float> values(static_cast<std::size_t>(shape.elements()));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 11) - 4;
  std::vector<float> expected = values;
  for (std::size_t i = 0; i < expected.size(); ++i)
    if (i % (5003 * 3) >= 3) expected[i] += expected[i - 3];
  const Tensor x = Tensor::from(values, shape).to(test::test_device());
  EXPECT_EQ(cumsum(x, 1).to_vector<float>(), expected);
  const Tensor sideways = permute(cumsum(permute(x, {0, 2, 1}), 2), {0, 2, 1});
  EXPECT_EQ(sideways.to_vector<float>(), expected);
  const std::vector<std::int64_t> whole(expected.begin(), expected.end());
  EXPECT_EQ(cumsum(cast(x, DType::i64), 1).to_vector<std::int64_t>(), whole);
}

TEST(ReduceOps, ResultsDoNotDependOnThreads) {
  std::vector<float> values(700001);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = std::sin(static_cast<float>(i));
  const Tensor x = Tensor::from(values, {700001});
  const int before = threads();
  set_threads(1);
  const float one = sum(x).item<float>();
  set_threads(3);
  const float three = sum(x * 1).item<float>();
  set_threads(before);
  EXPECT_EQ(one, three);
}

TEST(ReduceOps, NanWinsAndInfinitiesCount) {
  const Tensor x = doubles({1, nan, 3, -infinity, 2, infinity, -infinity, -infinity, -infinity}, {3, 3});
  const Array largest{{3}, {nan, infinity, -infinity}};
  const Array smallest{{3}, {nan, -infinity, -infinity}};
  for (DType dtype : {DType::f64, DType::f32, DType::bf16, DType::f16}) {
    expect_close(max(cast(x, dtype), {1}), largest, {}, "max");
    expect_close(min(cast(x, dtype), {1}), smallest, {}, "min");
    expect_close(argmax(cast(x, dtype), 1), {{3}, {1, 2, 0}}, {}, "argmax");
    expect_close(argmin(cast(x, dtype), 1), {{3}, {1, 0, 0}}, {}, "argmin");
  }
  std::vector<float> row(1000, 1.0f);
  row[700] = static_cast<float>(nan);
  EXPECT_TRUE(std::isnan(max(Tensor::from(row, {1000})).item<float>()));
  EXPECT_TRUE(std::isnan(min(Tensor::from(row, {1000})).item<float>()));
}

TEST(ReduceOps, GradientsOfTiesAreSharedEqually) {
  const Tensor x = doubles({2, 5, 5, 5, 1, 0}, {2, 3}).eval();
  expect_close(grad(sum(max(x, {1})), {x})[0], {{2, 3}, {0, 0.5, 0.5, 1, 0, 0}}, {}, "max");
  expect_close(grad(max(x), {x})[0], {{2, 3}, {0, 1.0 / 3, 1.0 / 3, 1.0 / 3, 0, 0}}, {1e-15, 0},
               "max of all");
}

TEST(ReduceOps, LogsumexpIsStable) {
  const Tensor x =
      doubles({1000, 1000, -infinity, -infinity, infinity, 1, nan, 1, -1000, -infinity}, {5, 2}).eval();
  const Array expected{{5}, {1000 + std::log(2.0), -infinity, infinity, nan, -1000}};
  expect_close(logsumexp(x, {1}), expected, {1e-12, 0}, "f64");
  expect_close(logsumexp(cast(x, DType::f32), {1}), expected, {1e-6, 0}, "f32");
  const Tensor impossible = full({2}, -infinity, DType::f64).eval();
  expect_close(grad(logsumexp(impossible), {impossible})[0], {{2}, {0, 0}}, {},
               "gradient of an impossible row");
}

TEST(ReduceOps, IntegersWrapAndSmallOnesWiden) {
  const Tensor large = Tensor::from(std::vector<std::int32_t>{2147483647, 1}, {2});
  EXPECT_EQ(sum(large).item<std::int32_t>(), -2147483648);
  EXPECT_EQ(sum(full({1000}, 255, DType::u8)).item<std::int64_t>(), 255000);
  EXPECT_EQ(sum(equal(arange(10), 3)).item<std::int64_t>(), 1);
}

TEST(ReduceOps, HalfPrecisionMeansDoNotOverflow) {
  EXPECT_EQ(static_cast<float>(mean(full({1000}, 1000, DType::f16)).item<float16>()), 1000.0f);
  EXPECT_TRUE(std::isnan(mean(zeros({0})).item<float>()));
}

TEST(ReduceOps, ErrorsSayWhatIsWrong) {
  const Tensor x = ones({2, 3});
  expect_error<ShapeError>([&] { sum(x, {2}); },
                           {"sum: axis 2 is out of range", "f32[2, 3]", "reduce_test.cpp:"});
  expect_error<ShapeError>([&] { mean(x, {0, -2}); }, {"mean: axis -2 is named twice in (0, -2)"});
  expect_error<DTypeError>([&] { mean(arange(3)); }, {"mean", "floating-point", "i64"});
  expect_error<DTypeError>([&] { logsumexp(arange(3)); }, {"logsumexp", "i64"});
  expect_error<ShapeError>(
      [&] {
        max(zeros({2, 0}), {1});
      },
      {"max: nothing to choose from", "[2, 0]", "axes (1)"});
  expect_error<ShapeError>([&] { min(zeros({0})); }, {"min: nothing to choose from"});
  expect_error<ShapeError>([&] { argmax(zeros({2, 0}), 1); }, {"argmax: nothing to choose from", "axis 1"});
  expect_error<ShapeError>([&] { argmin(x, 2); }, {"argmin: axis 2 is out of range"});
  expect_error<ShapeError>([&] { argmax(Tensor::scalar(1.0f)); },
                           {"argmax: axis -1 is out of range for shape []"});
  expect_error<ShapeError>([&] { cumsum(x, -3); }, {"cumsum: axis -3 is out of range"});
  expect_error<DTypeError>([&] { cumsum(ones({2}, DType::bool_)); }, {"not bool"});
}

}  // namespace
}  // namespace wick::test
