#include "backend/cuda/hopper/low_rank_product.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "support/cuda_memory.h"

namespace wick::cuda {
namespace {

struct Case {
  std::int64_t rows, depth, columns, rank;
  bool transposed, bias;
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.rows << " x " << c.depth << " x " << c.columns << ", rank " << c.rank
       << (c.transposed ? ", transposed" : "") << (c.bias ? ", biased" : "");
}

/// Numbers that bf16 holds exactly, between -1 and 1.
std::vector<float> numbers(std::int64_t count, std::uint32_t seed) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) {
    seed = seed * 1664525u + 1013904223u;
    value = static_cast<float>(static_cast<int>(seed >> 24) - 128) / 128;
  }
  return values;
}

std::vector<std::uint16_t> as_bf16(const std::vector<float>& values) {
  std::vector<std::uint16_t> halves(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, &values[i], sizeof bits);
    halves[i] = static_cast<std::uint16_t>(bits >> 16);
  }
  return halves;
}

float from_bf16(std::uint16_t half) {
  const std::uint32_t bits = static_cast<std::uint32_t>(half) << 16;
  float value = 0;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

class LowRankProductTest : public testing::TestWithParam<Case> {};

TEST_P(LowRankProductTest, IsTheSumOfBothProductsInEveryWay) {
  const Case& c = GetParam();
  const auto x = numbers(c.rows * c.depth, 1);
  const auto weight = numbers(c.columns * c.depth, 2);
  const auto t = numbers(c.rows * c.rank, 3);
  const auto b = numbers(c.columns * c.rank, 4);
  const auto bias = numbers(c.columns, 5);
  const auto at = [&](const std::vector<float>& matrix, std::int64_t column, std::int64_t k,
                      std::int64_t depth) {
    return static_cast<double>(
        matrix[static_cast<std::size_t>(c.transposed ? k * c.columns + column : column * depth + k)]);
  };
  if (!test::has_gpu()) GTEST_SKIP() << "there is no GPU";
  const test::OnGpu<std::uint16_t> x_there(as_bf16(x));
  const test::OnGpu<std::uint16_t> weight_there(as_bf16(weight));
  const test::OnGpu<std::uint16_t> bias_there(as_bf16(bias));
  const test::OnGpu<float> t_there(t);
  const test::OnGpu<float> b_there(b);
  const LowRankProduct base{x_there.data(), weight_there.data(), c.bias ? bias_there.data() : nullptr,
                            t_there.data(), b_there.data(),      nullptr,
                            c.rows,         c.columns,           c.depth,
                            c.rank,         c.transposed};
  std::vector<double> expected(static_cast<std::size_t>(c.rows * c.columns));
  for (std::int64_t row = 0; row < c.rows; ++row)
    for (std::int64_t column = 0; column < c.columns; ++column) {
      double sum = c.bias ? static_cast<double>(bias[static_cast<std::size_t>(column)]) : 0;
      for (std::int64_t k = 0; k < c.depth; ++k)
        sum += static_cast<double>(x[static_cast<std::size_t>(row * c.depth + k)]) *
               at(weight, column, k, c.depth);
      for (std::int64_t i = 0; i < c.rank; ++i)
        sum += static_cast<double>(t[static_cast<std::size_t>(row * c.rank + i)]) * at(b, column, i, c.rank);
      expected[static_cast<std::size_t>(row * c.columns + column)] = sum;
    }
  LowRankProduct probe = base;
  const std::vector<std::uint16_t> poison(expected.size(), 0xffff);
  const test::OnGpu<std::uint16_t> first_out(poison);
  probe.out = first_out.data();
  const int ways = low_rank_product_ways(probe);
  if (ways == 0) GTEST_SKIP() << "this GPU has no such kernel";
  for (int way = 0; way < ways; ++way) {
    const test::OnGpu<std::uint16_t> out(poison);
    LowRankProduct product = base;
    product.out = out.data();
    launch_low_rank_product(product, way, nullptr);
    const std::vector<std::uint16_t> got = out.read();
    launch_low_rank_product(product, way, nullptr);
    EXPECT_EQ(got, out.read()) << "way " << way << " is not the same twice";
    for (std::size_t i = 0; i < got.size(); ++i) {
      const double value = from_bf16(got[i]);
      // One rounding to bf16 of a sum in f32; the NaN that was there before fails.
      ASSERT_LE(std::abs(value - expected[i]), 1e-5 + 1.6e-2 * std::abs(expected[i]))
          << "way " << way << ", element " << i << ": " << value << " for " << expected[i];
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, LowRankProductTest,
    testing::Values(Case{1, 8, 8, 1, false, false}, Case{1, 8, 8, 1, true, false},
                    Case{3, 8, 8, 3, false, true}, Case{70, 72, 40, 3, true, true},
                    Case{64, 1024, 264, 8, false, false}, Case{300, 520, 264, 61, false, true},
                    Case{300, 520, 264, 61, true, false}, Case{129, 64, 520, 16, false, true},
                    Case{129, 64, 520, 16, true, true}, Case{257, 640, 232, 24, false, false},
                    Case{257, 640, 232, 64, true, false}, Case{2100, 72, 1304, 16, false, true},
                    Case{2100, 72, 1304, 32, true, false}, Case{5000, 136, 1032, 16, false, false}));

}  // namespace
}  // namespace wick::cuda
