#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "ops/op_harness.h"
#include "wick/error.h"
#include "wick/grad.h"
#include "wick/ops.h"

namespace wick::test {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float nan = std::numeric_limits<float>::quiet_NaN();

constexpr DType all_dtypes[] = {DType::bool_, DType::u8,   DType::i32, DType::i64,
                                DType::f16,   DType::bf16, DType::f32, DType::f64};

/// Casts to `to` of numbers that every dtype can hold but for its rounding.
OpCase cast_case(DType to) {
  return {.name = "cast_to_" + std::string(name_of(to)),
          .inputs = {{.draw = uniform(0, 200)}},
          .shapes = unary_shapes(),
          .op = [to](std::span<const Tensor> x) { return cast(x[0], to); },
          .reference = [to](std::span<const Array> x) { return rounded(x[0], to); },
          .dtypes = {std::begin(all_dtypes), std::end(all_dtypes)},
          .output = to,
          .gradient = to == DType::f64,
          .tolerance = [](DType) { return Tolerance{}; }};
}

const bool registered = register_op_cases(
    "CastOps", {cast_case(DType::bool_), cast_case(DType::u8), cast_case(DType::i32), cast_case(DType::i64),
                cast_case(DType::f16), cast_case(DType::bf16), cast_case(DType::f32), cast_case(DType::f64)});

TEST(CastOps, same_dtype_records_nothing) {
  const Tensor x = zeros({2});
  EXPECT_EQ(cast(x, DType::f32).node(), x.node());
}

TEST(CastOps, floats_to_integers_truncate_and_saturate) {
  const Tensor x =
      Tensor::from(std::vector<float>{1.9f, -1.9f, nan, infinity, -infinity, 3e9f, -3e9f, 300, 1e30f}, {9});
  EXPECT_EQ(
      cast(x, DType::i32).to_vector<std::int32_t>(),
      (std::vector<std::int32_t>{1, -1, 0, INT32_MAX, INT32_MIN, INT32_MAX, INT32_MIN, 300, INT32_MAX}));
  EXPECT_EQ(cast(x, DType::u8).to_vector<std::uint8_t>(),
            (std::vector<std::uint8_t>{1, 0, 0, 255, 0, 255, 0, 255, 255}));
  EXPECT_EQ(
      cast(x, DType::i64).to_vector<std::int64_t>(),
      (std::vector<std::int64_t>{1, -1, 0, INT64_MAX, INT64_MIN, 3000000000, -3000000000, 300, INT64_MAX}));
  EXPECT_EQ(cast(x, DType::bool_).to_vector<bool>(), (std::vector<bool>(9, true)));
  const Tensor y = Tensor::from(std::vector<double>{2147483647.5, -2147483648.5, 9.3e18, 0.0, -0.0}, {5});
  EXPECT_EQ(cast(y, DType::i32).to_vector<std::int32_t>(),
            (std::vector<std::int32_t>{INT32_MAX, INT32_MIN, INT32_MAX, 0, 0}));
  EXPECT_EQ(cast(y, DType::i64).to_vector<std::int64_t>()[2], INT64_MAX);
  EXPECT_EQ(cast(y, DType::bool_).to_vector<bool>(), (std::vector<bool>{true, true, true, false, false}));
}

template <typename T>
void expect_round_trips() {
  std::vector<T> numbers(1 << 16);
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i].bits = static_cast<std::uint16_t>(i);
  const Tensor x = Tensor::from(numbers, {1 << 16});
  const Tensor wide = cast(x, DType::f32).eval();
  const std::vector<float> floats = wide.to_vector<float>();
  const std::vector<T> back = cast(wide, dtype_of<T>).template to_vector<T>();
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const auto expected = static_cast<float>(numbers[i]);
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(floats[i])) << i;
      EXPECT_TRUE(std::isnan(static_cast<float>(back[i]))) << i;
    } else {
      EXPECT_EQ(std::bit_cast<std::uint32_t>(floats[i]), std::bit_cast<std::uint32_t>(expected)) << i;
      EXPECT_EQ(back[i].bits, numbers[i].bits) << i;
    }
  }
}

TEST(CastOps, every_bf16_number_round_trips) { expect_round_trips<bfloat16>(); }
TEST(CastOps, every_f16_number_round_trips) { expect_round_trips<float16>(); }

template <typename T>
void expect_rounding() {
  // Bits spread over all floats, and the halfway points between 16-bit numbers with their neighbours.
  std::vector<float> numbers;
  for (std::uint64_t i = 0; i < (1ull << 32); i += 9973)
    numbers.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(i)));
  for (std::uint32_t high = 0; high < (1u << 16); high += 7)
    for (std::uint32_t low : {0x7FFFu, 0x8000u, 0x8001u, 0x0FFFu, 0x1000u, 0x1001u})
      numbers.push_back(std::bit_cast<float>(high << 16 | low));
  const auto count = static_cast<std::int64_t>(numbers.size());
  const std::vector<T> narrow = cast(Tensor::from(numbers, {count}), dtype_of<T>).template to_vector<T>();
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const T expected(numbers[i]);
    if (std::isnan(numbers[i]))
      ASSERT_TRUE(std::isnan(static_cast<float>(narrow[i]))) << numbers[i];
    else
      ASSERT_EQ(narrow[i].bits, expected.bits) << numbers[i];
  }
}

TEST(CastOps, f32_to_bf16_rounds_to_nearest_even) { expect_rounding<bfloat16>(); }
TEST(CastOps, f32_to_f16_rounds_to_nearest_even) { expect_rounding<float16>(); }

TEST(CastOps, gradients_pass_with_the_dtype_of_the_input) {
  const Tensor x = make_tensor({{2}, {1, 2}}, DType::bf16);
  const Tensor gradient = grad(sum(cast(x, DType::f32) * 3), {x})[0];
  EXPECT_EQ(gradient.dtype(), DType::bf16);
  EXPECT_EQ(read_tensor(gradient).values, (std::vector<double>{3, 3}));
  EXPECT_EQ(read_tensor(grad(sum(cast(cast(x, DType::i32), DType::f32)), {x})[0]).values,
            (std::vector<double>{0, 0}));
}

TEST(ConstantOps, full_zeros_ones) {
  for (DType dtype : all_dtypes) {
    const Array array = read_tensor(full({2, 3}, 1, dtype));
    EXPECT_EQ(array.values, std::vector<double>(6, 1)) << name_of(dtype);
    EXPECT_EQ(read_tensor(zeros({3}, dtype)).values, std::vector<double>(3, 0)) << name_of(dtype);
    EXPECT_EQ(ones(Shape{}, dtype).dtype(), dtype);
  }
  EXPECT_EQ(full({0, 2}, 7).elements(), 0);
  EXPECT_TRUE(full({0, 2}, 7).to_vector<float>().empty());
}

TEST(ConstantOps, arange) {
  EXPECT_EQ(arange(4).to_vector<std::int64_t>(), (std::vector<std::int64_t>{0, 1, 2, 3}));
  EXPECT_EQ(arange(3, DType::f32, 1, -0.5).to_vector<float>(), (std::vector<float>{1, 0.5f, 0}));
  EXPECT_TRUE(arange(0).to_vector<std::int64_t>().empty());
  const std::vector<std::int32_t> many = arange(20000, DType::i32).to_vector<std::int32_t>();
  for (std::size_t i = 0; i < many.size(); ++i) ASSERT_EQ(many[i], static_cast<std::int32_t>(i));
}

TEST(ConstantOps, errors) {
  const auto too_large = [] { return full({2}, 1e10, DType::i32); };
  const std::string line = "cast_test.cpp:" + std::to_string(__LINE__ - 1);
  expect_error<ArgumentError>(too_large,
                              {"constant: the number 10000000000 is outside the range of i32", line});
  expect_error<ArgumentError>([] { return arange(-1); },
                              {"arange: the count must not be negative, but is -1"});
  expect_error<ArgumentError>(
      [] { return arange(300, DType::u8); },
      {"arange: the number 299 is outside the range of u8", "arange(count 300, start 0, step 1, u8)"});
  expect_error<DTypeError>([] { return arange(2, DType::bool_); },
                           {"arange: it takes numeric dtypes, not bool"});
}

}  // namespace
}  // namespace wick::test
