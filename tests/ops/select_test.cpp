#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "ops/op_harness.h"
#include "wick/error.h"
#include "wick/grad.h"
#include "wick/ops.h"

namespace wick::test {
namespace {

OpCase where_case() {
  return {.name = "where",
          .inputs = {{.draw = integers(0, 1), .dtype = DType::bool_},
                     {.draw = uniform(-3, 3)},
                     {.draw = uniform(-3, 3)}},
          .shapes = ternary_shapes(),
          .op = [](std::span<const Tensor> x) { return where(x[0], x[1], x[2]); },
          .reference = pointwise([](double c, double a, double b) { return c != 0 ? a : b; })};
}

OpCase integer_where_case() {
  OpCase op_case = where_case();
  op_case.name = "where_integers";
  op_case.inputs[1].draw = integers(0, 100);
  op_case.inputs[2].draw = integers(0, 100);
  op_case.dtypes = {DType::i64, DType::i32, DType::u8, DType::bool_};
  op_case.gradient = false;
  return op_case;
}

const bool registered = register_op_cases("SelectOps", {where_case(), integer_where_case()});

TEST(SelectOps, branches_promote_and_numbers_take_their_dtype) {
  const Tensor condition = cast(Tensor::from(std::vector<std::uint8_t>{1, 0}, {2}), DType::bool_);
  const Tensor half = make_tensor({{2}, {1, 2}}, DType::bf16);
  EXPECT_EQ(where(condition, half, 0).dtype(), DType::bf16);
  EXPECT_EQ(where(condition, half, ones({2})).dtype(), DType::f32);
  EXPECT_EQ(where(condition, 1, 2).to_vector<std::int64_t>(), (std::vector<std::int64_t>{1, 2}));
}

TEST(SelectOps, nan_of_the_other_branch_does_not_leak) {
  const Tensor condition = cast(Tensor::from(std::vector<std::uint8_t>{1, 0}, {2}), DType::bool_);
  const Tensor x = Tensor::from(std::vector<float>{1, std::numeric_limits<float>::quiet_NaN()}, {2});
  EXPECT_EQ(where(condition, x, 0).to_vector<float>(), (std::vector<float>{1, 0}));
  EXPECT_EQ(grad(sum(where(condition, x, 0)), {x})[0].to_vector<float>(), (std::vector<float>{1, 0}));
}

TEST(SelectOps, errors) {
  const Tensor x = zeros({2, 3});
  const auto float_condition = [&] { return where(x, x, x); };
  const std::string line = "select_test.cpp:" + std::to_string(__LINE__ - 1);
  expect_error<DTypeError>(float_condition, {"where: the condition must be bool, but is f32", line});
  expect_error<ShapeError>(
      [&] { return where(zeros({4}, DType::bool_), x, x); },
      {"where: shapes [4] and [2, 3] do not broadcast", "where(bool[4], f32[2, 3], f32[2, 3])"});
}

}  // namespace
}  // namespace wick::test
