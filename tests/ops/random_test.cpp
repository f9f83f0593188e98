#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "backend/cpu/philox.h"
#include "ops/op_harness.h"
#include "wick/device.h"
#include "wick/error.h"
#include "wick/grad.h"
#include "wick/ops.h"

namespace wick::test {
namespace {

TEST(RandomOps, PhiloxGivesThePublishedAnswers) {
  // kat_vectors of the authors' library Random123, https://github.com/DEShawResearch/random123
  using Words = std::array<std::uint32_t, 4>;
  EXPECT_EQ(philox_4x32_10({0, 0, 0, 0}, {0, 0}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox_4x32_10({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox_4x32_10({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(RandomOps, UniformNumbersAreTheLeadingBits) {
  const Tensor key = random_key(0);
  const std::vector<float> values = random_uniform(key, {5}).to_vector<float>();
  EXPECT_EQ(values[0], static_cast<float>(0x6627e8d5u >> 8) * 0x1p-24f);
  EXPECT_EQ(values[3], static_cast<float>(0x9b00dbd8u >> 8) * 0x1p-24f);
  EXPECT_EQ(values[4], static_cast<float>(philox_4x32_10({1, 0, 0, 0}, {0, 0})[0] >> 8) * 0x1p-24f);
  const std::vector<double> doubles = random_uniform(key, {2}, DType::f64).to_vector<double>();
  EXPECT_EQ(doubles[0], static_cast<double>(0xe169c58d6627e8d5u >> 11) * 0x1p-53);
  EXPECT_EQ(doubles[1], static_cast<double>(0x9b00dbd8bc57ac4cu >> 11) * 0x1p-53);
  const auto half = random_uniform(key, {1}, DType::f16).to_vector<float16>();
  EXPECT_EQ(static_cast<float>(half[0]), static_cast<float>(0x6627e8d5u >> 21) * 0x1p-11f);
  const auto brain = random_uniform(key, {1}, DType::bf16).to_vector<bfloat16>();
  EXPECT_EQ(static_cast<float>(brain[0]), static_cast<float>(0x66u) * 0x1p-8f);
}

TEST(RandomOps, SeedAndStreamAreUsedWhole) {
  const auto first = [](std::uint64_t seed, std::uint64_t stream) {
    return random_uniform(random_key(seed, stream), {1}).item<float>();
  };
  std::vector<float> values{first(0, 0), first(1, 0), first(1ull << 32, 0), first(0, 1),
                            first(0, 1ull << 32)};
  EXPECT_EQ(first(1, 0), values[1]);
  std::sort(values.begin(), values.end());
  EXPECT_EQ(std::adjacent_find(values.begin(), values.end()), values.end());
}

TEST(RandomOps, AnElementDependsOnKeyAndPositionOnly) {
  const Tensor key = random_key(7, 3);
  const int before = threads();
  set_threads(1);
  const std::vector<float> one = random_uniform(key, {100001}).to_vector<float>();
  set_threads(3);
  const std::vector<float> three = random_uniform(key, {100001}).to_vector<float>();
  const std::vector<float> shorter = random_normal(key, {3, 331}).to_vector<float>();
  const std::vector<float> longer = random_normal(key, {5000}).to_vector<float>();
  set_threads(before);
  EXPECT_EQ(one, three);
  EXPECT_TRUE(std::equal(shorter.begin(), shorter.end(), longer.begin()));
}

struct Moments {
  double mean = 0;
  double variance = 0;
  double kurtosis = 0;
};

Moments moments_of(const std::vector<double>& values) {
  Moments m;
  const auto n = static_cast<double>(values.size());
  for (double v : values) m.mean += v / n;
  double fourth = 0;
  for (double v : values) {
    const double square = (v - m.mean) * (v - m.mean);
    m.variance += square / n;
    fourth += square * square / n;
  }
  m.kurtosis = fourth / (m.variance * m.variance);
  return m;
}

// Tolerances below are five standard errors of a million independent numbers.
constexpr std::int64_t many = 1000000;

TEST(RandomOps, UniformNumbersAreUniform) {
  for (DType dtype : {DType::f32, DType::f64}) {
    const std::vector<double> values = read_tensor(random_uniform(random_key(1), {many}, dtype)).values;
    const Moments m = moments_of(values);
    EXPECT_NEAR(m.mean, 0.5, 1.5e-3);
    EXPECT_NEAR(m.variance, 1.0 / 12, 4e-4);
    const auto [low, high] = std::minmax_element(values.begin(), values.end());
    EXPECT_GE(*low, 0);
    EXPECT_LT(*high, 1);
    double lagged = 0;
    for (std::size_t i = 1; i < values.size(); ++i) lagged += (values[i] - 0.5) * (values[i - 1] - 0.5);
    EXPECT_NEAR(lagged / many, 0, 4.2e-4);
  }
}

TEST(RandomOps, NarrowUniformNumbersStayBelowOne) {
  for (DType dtype : {DType::f16, DType::bf16}) {
    const std::vector<double> values = read_tensor(random_uniform(random_key(2), {many}, dtype)).values;
    EXPECT_LT(*std::max_element(values.begin(), values.end()), 1);
    EXPECT_EQ(*std::min_element(values.begin(), values.end()), 0);
    EXPECT_NEAR(moments_of(values).mean, dtype == DType::f16 ? 0.5 - 0x1p-12 : 0.5 - 0x1p-9, 1.5e-3);
  }
}

TEST(RandomOps, NormalNumbersAreNormal) {
  for (DType dtype : {DType::f32, DType::f64}) {
    const std::vector<double> values = read_tensor(random_normal(random_key(3), {many}, dtype)).values;
    const Moments m = moments_of(values);
    EXPECT_NEAR(m.mean, 0, 5e-3);
    EXPECT_NEAR(m.variance, 1, 7.1e-3);
    EXPECT_NEAR(m.kurtosis, 3, 2.5e-2);
    const auto beyond =
        std::count_if(values.begin(), values.end(), [](double v) { return std::abs(v) > 1.959964; });
    EXPECT_NEAR(static_cast<double>(beyond) / many, 0.05, 1.1e-3);
    EXPECT_TRUE(std::all_of(values.begin(), values.end(), [](double v) { return std::isfinite(v); }));
  }
  EXPECT_EQ(random_normal(random_key(3), {2, 3}, DType::bf16).dtype(), DType::bf16);
}

TEST(RandomOps, NormalNumbersOfNeighbouringStreamsDiffer) {
  const std::vector<double> a = read_tensor(random_normal(random_key(3, 0), {10000}, DType::f64)).values;
  const std::vector<double> b = read_tensor(random_normal(random_key(3, 1), {10000}, DType::f64)).values;
  EXPECT_NEAR(std::inner_product(a.begin(), a.end(), b.begin(), 0.0) / 10000, 0, 0.05);
}

TEST(RandomOps, DropoutKeepsTheExpectation) {
  for (DType dtype : {DType::f32, DType::bf16, DType::f16, DType::f64}) {
    const std::vector<double> values = read_tensor(dropout(ones({many}, dtype), 0.2, random_key(4))).values;
    const auto dropped = std::count(values.begin(), values.end(), 0.0);
    EXPECT_NEAR(static_cast<double>(dropped) / many, 0.2, 2e-3);
    EXPECT_NEAR(*std::max_element(values.begin(), values.end()), 1.25, 1e-6);
  }
}

TEST(RandomOps, DropoutOfZeroIsTheIdentity) {
  const Tensor x = random_normal(random_key(5), {100}).eval();
  EXPECT_EQ(dropout(x, 0, random_key(6)).to_vector<float>(), x.to_vector<float>());
}

TEST(RandomOps, DropoutsGradientHasTheSameMask) {
  const Tensor x = full({50, 3}, 2, DType::f64).eval();
  const Tensor y = dropout(x, 0.5, random_key(8));
  const std::vector<double> gradient = grad(sum(y), {x})[0].to_vector<double>();
  std::vector<double> expected = y.to_vector<double>();
  for (double& v : expected) v /= 2;  // y is 4 or 0 where the gradient is 2 or 0
  EXPECT_EQ(gradient, expected);
}

TEST(RandomOps, ErrorsSayWhatIsWrong) {
  const Tensor key = random_key(1);
  expect_error<DTypeError>([&] { random_uniform(key, {2}, DType::i32); },
                           {"random_uniform", "floating-point", "i32"});
  expect_error<ArgumentError>([&] { random_uniform(ones({2}), {2}); },
                              {"the key must be i64[2]", "not f32[2]", "random_test.cpp:"});
  expect_error<ArgumentError>([&] { random_normal(arange(3), {2}); }, {"not i64[3]"});
  expect_error<ArgumentError>([&] { dropout(ones({2}), 1, key); },
                              {"dropout: the probability must be in [0, 1), but is 1"});
  expect_error<ArgumentError>([&] { dropout(ones({2}), -0.1, key); }, {"but is -0.1"});
  expect_error<ArgumentError>([&] { dropout(ones({2}), 0.1, ones({2})); }, {"the key must be i64[2]"});
  expect_error<DTypeError>([&] { dropout(arange(2), 0.1, key); }, {"dropout", "i64"});
}

}  // namespace
}  // namespace wick::test
