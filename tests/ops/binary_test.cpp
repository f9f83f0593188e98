#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "ops/op_harness.h"
#include "wick/error.h"
#include "wick/eval.h"
#include "wick/grad.h"
#include "wick/ops.h"

namespace wick::test {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

using BinaryFunction = Tensor (*)(const Operand&, const Operand&);

OpCase binary(std::string name, BinaryFunction op, std::function<double(double, double)> reference, Draw a,
              Draw b) {
  return {.name = std::move(name),
          .inputs = {{.draw = std::move(a)}, {.draw = std::move(b)}},
          .shapes = binary_shapes(),
          .op = [op](std::span<const Tensor> x) { return op(x[0], x[1]); },
          .reference = pointwise(std::move(reference))};
}

OpCase integral(OpCase op_case, Draw a, Draw b) {
  op_case.name += "_integers";
  op_case.inputs = {{.draw = std::move(a)}, {.draw = std::move(b)}};
  op_case.dtypes = {DType::i64, DType::i32, DType::u8};
  op_case.gradient = false;
  return op_case;
}

/// Every pair of special numbers.
OpCase special(OpCase op_case) {
  const std::vector<double> numbers{0.0, -0.0, 1, -1, 0.5, -2, infinity, -infinity, nan, 3e38, 1e-40};
  std::vector<double> slow;
  for (double x : numbers) slow.insert(slow.end(), numbers.size(), x);
  const auto count = static_cast<std::int64_t>(slow.size());
  op_case.name += "_special";
  op_case.inputs = {{.draw = cycle(numbers)}, {.draw = cycle(slow)}};
  op_case.shapes = {{{count}, {count}}};
  op_case.dtypes = {DType::f64, DType::f32};
  op_case.gradient = false;
  return op_case;
}

OpCase predicate(std::string name, BinaryFunction op, std::function<double(double, double)> reference) {
  OpCase op_case = binary(std::move(name), op, std::move(reference), integers(0, 2), integers(0, 2));
  op_case.output = DType::bool_;
  op_case.dtypes = {DType::f64, DType::f32, DType::bf16, DType::f16,
                    DType::i64, DType::i32, DType::u8,   DType::bool_};
  op_case.gradient = false;
  return op_case;
}

double minimum_reference(double a, double b) { return std::isnan(a) || std::isnan(b) ? nan : std::min(a, b); }
double maximum_reference(double a, double b) { return std::isnan(a) || std::isnan(b) ? nan : std::max(a, b); }

const Draw anything = uniform(-3, 3);

OpCase add_case() {
  return binary(
      "add", add, [](double a, double b) { return a + b; }, anything, anything);
}
OpCase sub_case() {
  return binary(
      "sub", sub, [](double a, double b) { return a - b; }, anything, anything);
}
OpCase mul_case() {
  return binary(
      "mul", mul, [](double a, double b) { return a * b; }, anything, anything);
}
OpCase div_case() {
  return binary(
      "div", div, [](double a, double b) { return a / b; }, anything, avoiding(anything, {0}, 0.2));
}
OpCase pow_case() {
  return binary(
      "pow", pow, [](double a, double b) { return std::pow(a, b); }, uniform(0.2, 3), uniform(-2, 2));
}
OpCase minimum_case() { return binary("minimum", minimum, minimum_reference, anything, anything); }
OpCase maximum_case() { return binary("maximum", maximum, maximum_reference, anything, anything); }
OpCase less_case() {
  return predicate("less", less, [](double a, double b) { return a < b; });
}
OpCase equal_case() {
  return predicate("equal", equal, [](double a, double b) { return a == b; });
}

const bool registered = register_op_cases(
    "BinaryOps", {add_case(),
                  sub_case(),
                  mul_case(),
                  div_case(),
                  pow_case(),
                  minimum_case(),
                  maximum_case(),

                  equal_case(),
                  predicate("not_equal", not_equal, [](double a, double b) { return a != b; }),
                  less_case(),
                  predicate("less_equal", less_equal, [](double a, double b) { return a <= b; }),
                  predicate("greater", greater, [](double a, double b) { return a > b; }),
                  predicate("greater_equal", greater_equal, [](double a, double b) { return a >= b; }),
                  predicate("logical_and", logical_and, [](double a, double b) { return a != 0 && b != 0; }),
                  predicate("logical_or", logical_or, [](double a, double b) { return a != 0 || b != 0; }),

                  integral(add_case(), integers(0, 100), integers(0, 100)),
                  integral(sub_case(), integers(100, 200), integers(0, 100)),
                  integral(mul_case(), integers(0, 15), integers(0, 15)),
                  integral(pow_case(), integers(0, 4), integers(0, 3)),
                  integral(minimum_case(), integers(0, 9), integers(0, 9)),
                  integral(maximum_case(), integers(0, 9), integers(0, 9)),

                  special(add_case()),
                  special(sub_case()),
                  special(mul_case()),
                  special(div_case()),
                  special(pow_case()),
                  special(minimum_case()),
                  special(maximum_case()),
                  special(less_case()),
                  special(equal_case())});

Tensor single(DType dtype) { return make_tensor({Shape{}, {2}}, dtype); }

TEST(BinaryOps, dtypes_promote_as_in_numpy) {
  EXPECT_EQ(add(single(DType::i32), single(DType::f32)).dtype(), DType::f64);
  EXPECT_EQ(add(single(DType::bf16), single(DType::f32)).dtype(), DType::f32);
  EXPECT_EQ(add(single(DType::bf16), single(DType::f16)).dtype(), DType::f32);
  EXPECT_EQ(add(single(DType::u8), single(DType::i32)).dtype(), DType::i32);
  EXPECT_EQ(add(single(DType::bool_), single(DType::u8)).dtype(), DType::u8);
  EXPECT_EQ(div(single(DType::i64), single(DType::i32)).dtype(), DType::f64);
  EXPECT_EQ(add(single(DType::u8), single(DType::f32)).item<float>(), 4.0f);
}

TEST(BinaryOps, numbers_take_the_dtype_of_the_tensor) {
  for (DType dtype : {DType::f64, DType::f32, DType::bf16, DType::f16}) {
    EXPECT_EQ((single(dtype) * 0.5).dtype(), dtype);
    EXPECT_EQ((1 - single(dtype)).dtype(), dtype);
  }
  EXPECT_EQ((single(DType::i32) + 1).dtype(), DType::i32);
  EXPECT_EQ((single(DType::u8) + 0.5).dtype(), DType::f64);
  EXPECT_EQ((single(DType::bool_) + 1).dtype(), DType::i64);
  EXPECT_EQ(add(2, 3).item<std::int64_t>(), 5);
  EXPECT_EQ(add(2, 0.5).item<double>(), 2.5);
}

TEST(BinaryOps, numbers_have_no_second_rounding) {
  const Tensor x = Tensor::scalar<double>(1);
  EXPECT_EQ((x * 0.1).item<double>(), 0.1);
}

TEST(BinaryOps, booleans_add_as_or_and_multiply_as_and) {
  const Tensor a = Tensor::from(std::vector<std::uint8_t>{0, 0, 1, 1}, {4});
  const Tensor b = Tensor::from(std::vector<std::uint8_t>{0, 1, 0, 1}, {4});
  const Tensor x = cast(a, DType::bool_);
  const Tensor y = cast(b, DType::bool_);
  EXPECT_EQ(add(x, y).to_vector<bool>(), (std::vector<bool>{false, true, true, true}));
  EXPECT_EQ(mul(x, y).to_vector<bool>(), (std::vector<bool>{false, false, false, true}));
}

TEST(BinaryOps, integer_arithmetic_wraps) {
  const Tensor x = Tensor::scalar<std::int32_t>(INT32_MAX);
  EXPECT_EQ((x + 1).item<std::int32_t>(), INT32_MIN);
  EXPECT_EQ((x * 2).item<std::int32_t>(), -2);
  EXPECT_EQ((Tensor::scalar<std::uint8_t>(3) - 5).item<std::uint8_t>(), 254);
}

TEST(BinaryOps, negative_integer_exponents_in_data_truncate) {
  const Tensor base = Tensor::from(std::vector<std::int64_t>{1, -1, -1, 2, 0}, {5});
  const Tensor exponent = Tensor::from(std::vector<std::int64_t>{-3, -3, -4, -1, -1}, {5});
  EXPECT_EQ(pow(base, exponent).to_vector<std::int64_t>(), (std::vector<std::int64_t>{1, -1, 1, 0, 0}));
}

TEST(BinaryOps, ties_share_the_gradient) {
  const Tensor a = Tensor::from(std::vector<float>{1, 2, 3}, {3});
  const Tensor b = Tensor::from(std::vector<float>{1, 3, 2}, {3});
  const auto of_max = grad(sum(maximum(a, b)), {a, b});
  EXPECT_EQ(of_max[0].to_vector<float>(), (std::vector<float>{0.5f, 0, 1}));
  EXPECT_EQ(of_max[1].to_vector<float>(), (std::vector<float>{0.5f, 1, 0}));
  const auto of_min = grad(sum(minimum(a, b)), {a, b});
  EXPECT_EQ(of_min[0].to_vector<float>(), (std::vector<float>{0.5f, 1, 0}));
}

TEST(BinaryOps, pow_gradient_at_zero) {
  const Tensor a = Tensor::from(std::vector<double>{0, 0, 0}, {3});
  const Tensor b = Tensor::from(std::vector<double>{0, 1, 2}, {3});
  const auto gradients = grad(sum(pow(a, b)), {a, b});
  EXPECT_EQ(gradients[0].to_vector<double>(), (std::vector<double>{0, 1, 0}));
  EXPECT_EQ(gradients[1].to_vector<double>(), (std::vector<double>{0, 0, 0}));
}

TEST(BinaryOps, one_tensor_as_both_operands) {
  const Tensor x = Tensor::from(std::vector<double>{2, -3}, {2});
  EXPECT_EQ((x * x).to_vector<double>(), (std::vector<double>{4, 9}));
  EXPECT_EQ(grad(sum(x * x), {x})[0].to_vector<double>(), (std::vector<double>{4, -6}));
}

TEST(BinaryOps, errors_name_op_shapes_and_line) {
  const Tensor a = zeros({2, 3});
  const Tensor b = zeros({4});
  const auto sum_of_both = [&] { return add(a, b); };
  const std::string add_line = "binary_test.cpp:" + std::to_string(__LINE__ - 1);
  expect_error<ShapeError>(sum_of_both, {"add: shapes [2, 3] and [4] do not broadcast",
                                         "add(f32[2, 3], f32[4]) recorded at", add_line});
  expect_error<ShapeError>([&] { return a * b; },
                           {"mul: shapes [2, 3] and [4] do not broadcast", "binary_test.cpp:"});
  const Tensor flags = zeros({2}, DType::bool_);
  expect_error<DTypeError>([&] { return flags - flags; },
                           {"sub: it takes numeric dtypes, not bool; cast first", "sub(bool[2], bool[2])"});
  expect_error<DTypeError>([&] { return pow(flags, flags); }, {"pow: it takes numeric dtypes, not bool"});
  expect_error<ArgumentError>([&] { return zeros({2}, DType::u8) + 300; },
                              {"the number 300 is outside the range of u8", "binary_test.cpp:"});
  const auto inverse = [] { return pow(zeros({2}, DType::i32), -1); };
  const std::string pow_line = "binary_test.cpp:" + std::to_string(__LINE__ - 1);
  expect_error<ArgumentError>(
      inverse, {"pow: an integer tensor to the negative power -1 has no integer result", "i32[2]", pow_line});
  expect_error<ArgumentError>([&] { return a + Tensor{}; }, {"add: input 1 is an empty tensor"});
}

}  // namespace
}  // namespace wick::test
