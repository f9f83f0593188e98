#include "backend/cuda/hopper/low_rank_product.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <list>
#include <string>
#include <vector>

#include "support/cuda_memory.h"

namespace wick::cuda {
namespace {

struct Member {
  std::int64_t depth, rank;
};

struct Case {
  std::int64_t rows, columns;
  bool transposed, bias;
  std::vector<Member> members;
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.rows << " x " << c.columns << (c.transposed ? ", transposed" : "") << (c.bias ? ", biased" : "");
  for (const Member& m : c.members) *out << ", depth " << m.depth << " of rank " << m.rank;
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
  if (!test::has_gpu()) GTEST_SKIP() << "there is no GPU";
  LowRankProduct base{};
  base.rows = c.rows;
  base.columns = c.columns;
  base.transposed = c.transposed;
  std::vector<double> expected(static_cast<std::size_t>(c.rows * c.columns));
  const auto add_product = [&](const std::vector<float>& left, const std::vector<float>& right,
                               std::int64_t depth) {
    for (std::int64_t row = 0; row < c.rows; ++row)
      for (std::int64_t column = 0; column < c.columns; ++column)
        for (std::int64_t k = 0; k < depth; ++k)
          expected[static_cast<std::size_t>(row * c.columns + column)] +=
              static_cast<double>(left[static_cast<std::size_t>(row * depth + k)]) *
              static_cast<double>(right[static_cast<std::size_t>(c.transposed ? k * c.columns + column
                                                                              : column * depth + k)]);
  };
  std::list<test::OnGpu<std::uint16_t>> matrices;
  std::list<test::OnGpu<float>> factors;
  std::uint32_t seed = 1;
  for (const Member& m : c.members) {
    LowRankProduct::Member& to = base.members[static_cast<std::size_t>(base.count++)];
    const auto x = numbers(c.rows * m.depth, seed++);
    const auto weight = numbers(c.columns * m.depth, seed++);
    add_product(x, weight, m.depth);
    to.x = matrices.emplace_back(as_bf16(x)).data();
    to.weight = matrices.emplace_back(as_bf16(weight)).data();
    to.depth = m.depth;
    to.rank = m.rank;
    if (m.rank == 0) continue;
    const auto t = numbers(c.rows * m.rank, seed++);
    const auto b = numbers(c.columns * m.rank, seed++);
    add_product(t, b, m.rank);
    to.t = factors.emplace_back(t).data();
    to.b = factors.emplace_back(b).data();
  }
  if (c.bias) {
    const auto bias = numbers(c.columns, seed);
    for (std::size_t i = 0; i < expected.size(); ++i)
      expected[i] += static_cast<double>(bias[i % static_cast<std::size_t>(c.columns)]);
    base.bias = matrices.emplace_back(as_bf16(bias)).data();
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
    testing::Values(Case{1, 8, false, false, {{8, 1}}}, Case{1, 8, true, false, {{8, 1}}},
                    Case{3, 8, false, true, {{8, 3}}}, Case{70, 40, true, true, {{72, 3}}},
                    Case{64, 264, false, false, {{1024, 8}}}, Case{300, 264, false, true, {{520, 61}}},
                    Case{300, 264, true, false, {{520, 61}}}, Case{129, 520, false, true, {{64, 16}}},
                    Case{129, 520, true, true, {{64, 16}}}, Case{257, 232, false, false, {{640, 24}}},
                    Case{257, 232, true, false, {{640, 64}}}, Case{2100, 1304, false, true, {{72, 16}}},
                    Case{2100, 1304, true, false, {{72, 32}}}, Case{5000, 1032, false, false, {{136, 16}}},
                    Case{70, 40, true, false, {{8, 3}, {136, 5}}},
                    Case{257, 232, true, false, {{640, 16}, {72, 1}, {72, 17}}},
                    Case{129, 520, false, true, {{64, 16}, {1024, 0}}},
                    Case{300, 264, true, false, {{72, 8}, {520, 8}, {520, 0}}},
                    Case{2100, 1304, true, false, {{200, 16}, {200, 16}, {200, 16}}}));

}  // namespace
}  // namespace wick::cuda
