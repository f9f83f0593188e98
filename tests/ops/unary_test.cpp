#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numbers>

#include "ops/op_harness.h"
#include "wick/error.h"
#include "wick/eval.h"
#include "wick/grad.h"
#include "wick/ops.h"

namespace wick::test {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

using UnaryFunction = Tensor (*)(const Operand&);

OpCase unary(std::string name, UnaryFunction op, std::function<double(double)> reference, Draw draw) {
  return {.name = std::move(name),
          .inputs = {{.draw = std::move(draw)}},
          .shapes = unary_shapes(),
          .op = [op](std::span<const Tensor> x) { return op(x[0]); },
          .reference = pointwise(std::move(reference))};
}

double sigmoid_reference(double x) { return 1 / (1 + std::exp(-x)); }
double gelu_reference(double x) { return 0.5 * x * std::erfc(-x / std::numbers::sqrt2); }
double gelu_tanh_reference(double x) {
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
}
double sign_reference(double x) { return std::isnan(x) ? x : (x > 0) - (x < 0); }

OpCase no_gradient(OpCase op_case) {
  op_case.gradient = false;
  return op_case;
}

OpCase predicate(OpCase op_case) {
  op_case.gradient = false;
  op_case.output = DType::bool_;
  op_case.dtypes = {DType::f64, DType::f32, DType::bf16, DType::f16,
                    DType::i64, DType::i32, DType::u8,   DType::bool_};
  return op_case;
}

/// Ops that integers keep their dtype in.
OpCase integral(OpCase op_case, Draw draw) {
  op_case.name += "_integers";
  op_case.inputs[0].draw = std::move(draw);
  op_case.dtypes = {DType::i64, DType::i32, DType::u8};
  op_case.gradient = false;
  return op_case;
}

/// Infinities, NaN, zeros, the smallest and the largest numbers.
OpCase special(OpCase op_case) {
  op_case.name += "_special";
  op_case.inputs[0].draw = cycle({0.0,   -0.0, infinity, -infinity, nan,  1,  -1,  1e-45, 1e-38, 3e38,
                                  -3e38, 88.8, -104.1,   0.5,       -0.5, 20, -20, 1e-4,  -1e-4, 60000});
  op_case.shapes = {{{20}}, {{67}}};
  op_case.dtypes = {DType::f64, DType::f32};
  op_case.gradient = false;
  return op_case;
}

const auto away_from_0 = avoiding(uniform(-3, 3), {0}, 1e-3);

OpCase neg_case() {
  return unary(
      "neg", neg, [](double x) { return -x; }, uniform(-3, 3));
}
OpCase abs_case() {
  return unary(
      "abs", abs, [](double x) { return std::abs(x); }, away_from_0);
}
OpCase sign_case() { return no_gradient(unary("sign", sign, sign_reference, integers(-3, 3))); }
OpCase exp_case() {
  return unary(
      "exp", exp, [](double x) { return std::exp(x); }, uniform(-6, 6));
}
OpCase log_case() {
  return unary(
      "log", log, [](double x) { return std::log(x); }, uniform(0.05, 9));
}
OpCase sqrt_case() {
  return unary(
      "sqrt", sqrt, [](double x) { return std::sqrt(x); }, uniform(0.05, 9));
}
OpCase rsqrt_case() {
  return unary(
      "rsqrt", rsqrt, [](double x) { return 1 / std::sqrt(x); }, uniform(0.05, 9));
}
OpCase sin_case() {
  return unary(
      "sin", sin, [](double x) { return std::sin(x); }, uniform(-9, 9));
}
OpCase cos_case() {
  return unary(
      "cos", cos, [](double x) { return std::cos(x); }, uniform(-9, 9));
}
OpCase tanh_case() {
  return unary(
      "tanh", tanh, [](double x) { return std::tanh(x); }, uniform(-4, 4));
}
OpCase sigmoid_case() { return unary("sigmoid", sigmoid, sigmoid_reference, uniform(-9, 9)); }
OpCase erf_case() {
  return unary(
      "erf", erf, [](double x) { return std::erf(x); }, uniform(-4.5, 4.5));
}
OpCase square_case() {
  return unary(
      "square", square, [](double x) { return x * x; }, uniform(-3, 3));
}
OpCase not_case() {
  return predicate(unary(
      "logical_not", logical_not, [](double x) { return x == 0; }, integers(0, 2)));
}
OpCase finite_case() {
  return predicate(unary(
      "is_finite", is_finite, [](double x) { return std::isfinite(x); }, integers(0, 2)));
}
OpCase relu_case() {
  return unary(
      "relu", relu, [](double x) { return x > 0 || std::isnan(x) ? x : 0; }, away_from_0);
}
OpCase silu_case() {
  return unary(
      "silu", silu, [](double x) { return x * sigmoid_reference(x); }, uniform(-6, 6));
}
OpCase gelu_case() { return unary("gelu", gelu, gelu_reference, uniform(-4, 4)); }
OpCase gelu_tanh_case() { return unary("gelu_tanh", gelu_tanh, gelu_tanh_reference, uniform(-4, 4)); }

OpCase clamp_case() {
  return {
      .name = "clamp",
      .inputs = {{.draw = avoiding(uniform(-3, 3), {-1, 2}, 1e-3)}},
      .shapes = unary_shapes(),
      .op = [](std::span<const Tensor> x) { return clamp(x[0], -1, 2); },
      .reference = pointwise([](double x) { return std::isnan(x) ? x : std::min(std::max(x, -1.0), 2.0); })};
}

OpCase integer_clamp_case() {
  OpCase op_case = integral(clamp_case(), integers(0, 9));
  op_case.op = [](std::span<const Tensor> x) { return clamp(x[0], 2, infinity); };
  op_case.reference = pointwise([](double x) { return std::max(x, 2.0); });
  return op_case;
}

OpCase large_angles(OpCase op_case) {
  op_case.name += "_large_angles";
  op_case.inputs[0].draw = uniform(-1e6, 1e6);
  op_case.dtypes = {DType::f64, DType::f32};
  op_case.gradient = false;
  return op_case;
}

const bool registered = register_op_cases("UnaryOps", {neg_case(),
                                                       abs_case(),
                                                       sign_case(),
                                                       exp_case(),
                                                       log_case(),
                                                       sqrt_case(),
                                                       rsqrt_case(),
                                                       sin_case(),
                                                       cos_case(),
                                                       tanh_case(),
                                                       sigmoid_case(),
                                                       erf_case(),
                                                       square_case(),
                                                       not_case(),
                                                       finite_case(),
                                                       relu_case(),
                                                       silu_case(),
                                                       gelu_case(),
                                                       gelu_tanh_case(),
                                                       clamp_case(),

                                                       integral(neg_case(), integers(0, 0)),
                                                       integral(abs_case(), integers(0, 100)),
                                                       integral(sign_case(), integers(0, 5)),
                                                       integral(square_case(), integers(0, 15)),
                                                       integral(relu_case(), integers(0, 100)),
                                                       integer_clamp_case(),

                                                       special(neg_case()),
                                                       special(abs_case()),
                                                       special(sign_case()),
                                                       special(exp_case()),
                                                       special(log_case()),
                                                       special(sqrt_case()),
                                                       special(rsqrt_case()),
                                                       special(sin_case()),
                                                       special(cos_case()),
                                                       special(tanh_case()),
                                                       special(sigmoid_case()),
                                                       special(erf_case()),
                                                       special(relu_case()),
                                                       special(clamp_case()),

                                                       large_angles(sin_case()),
                                                       large_angles(cos_case())});

TEST(UnaryOps, signed_integers_keep_their_dtype_and_wrap) {
  const Tensor x = Tensor::from<std::int32_t>(std::vector<std::int32_t>{-3, 0, 7, INT32_MIN}, {4});
  EXPECT_EQ(neg(x).to_vector<std::int32_t>(), (std::vector<std::int32_t>{3, 0, -7, INT32_MIN}));
  EXPECT_EQ(abs(x).to_vector<std::int32_t>(), (std::vector<std::int32_t>{3, 0, 7, INT32_MIN}));
  EXPECT_EQ(sign(x).to_vector<std::int32_t>(), (std::vector<std::int32_t>{-1, 0, 1, -1}));
  EXPECT_EQ(relu(x).to_vector<std::int32_t>(), (std::vector<std::int32_t>{0, 0, 7, 0}));
}

TEST(UnaryOps, integers_become_f64_for_transcendental_functions) {
  const Tensor x = Tensor::from<std::int64_t>(std::vector<std::int64_t>{0, 1, 2}, {3});
  for (const Tensor& y : {exp(x), sqrt(x), sigmoid(x), gelu(x)}) EXPECT_EQ(y.dtype(), DType::f64);
  EXPECT_DOUBLE_EQ(exp(x).to_vector<double>()[2], std::exp(2.0));
  EXPECT_EQ(exp(1).dtype(), DType::f64);
  EXPECT_DOUBLE_EQ(exp(1).item<double>(), std::numbers::e);
}

TEST(UnaryOps, fractional_limits_make_integers_f64) {
  const Tensor x = Tensor::from<std::int32_t>(std::vector<std::int32_t>{-3, 5}, {2});
  EXPECT_EQ(clamp(x, -0.5, 4.5).to_vector<double>(), (std::vector<double>{-0.5, 4.5}));
}

TEST(UnaryOps, gradients_at_kinks) {
  const Tensor x = Tensor::from<float>(std::vector<float>{0, -1, 2, 5}, {4});
  const auto gradient = [&](const Tensor& y) { return grad(sum(y), {x})[0].to_vector<float>(); };
  EXPECT_EQ(gradient(relu(x)), (std::vector<float>{0, 0, 1, 1}));
  EXPECT_EQ(gradient(abs(x)), (std::vector<float>{0, -1, 1, 1}));
  EXPECT_EQ(gradient(sign(x)), (std::vector<float>{0, 0, 0, 0}));
  EXPECT_EQ(gradient(clamp(x, -1, 2)), (std::vector<float>{1, 1, 1, 0}));
}

TEST(UnaryOps, errors_name_op_input_and_line) {
  const Tensor flags = zeros({2}, DType::bool_);
  const Tensor bytes = zeros({2}, DType::u8);
  const auto negate = [&] { return neg(flags); };
  const std::string neg_line = "unary_test.cpp:" + std::to_string(__LINE__ - 1);
  expect_error<DTypeError>(negate, {"neg: it takes numeric dtypes, not bool; use logical_not or cast",
                                    "neg(bool[2]) recorded at", neg_line});
  const auto limit = [&] { return clamp(bytes, 3, 1); };
  const std::string clamp_line = "unary_test.cpp:" + std::to_string(__LINE__ - 1);
  expect_error<ArgumentError>(limit, {"clamp: the low limit 3 must not be above the high limit 1",
                                      "clamp(u8[2]; 3 to 1) recorded at", clamp_line});
  expect_error<ArgumentError>([&] { return clamp(bytes, nan, 1); },
                              {"clamp: the low limit nan must not be above"});
  expect_error<ArgumentError>([&] { return clamp(bytes, 0, 300); },
                              {"clamp: the number 300 is outside the range of u8"});
  expect_error<ArgumentError>([&] { return exp(Tensor{}); },
                              {"exp: input 0 is an empty tensor", "unary_test.cpp:"});
}

}  // namespace
}  // namespace wick::test
