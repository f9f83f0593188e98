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
  bool projects = false;  ///< t is computed, too
  bool shares = false;    ///< by one tile for others
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.rows << " x " << c.columns << (c.transposed ? ", transposed" : "") << (c.bias ? ", biased" : "")
       << (c.projects ? ", projects" : "") << (c.shares ? ", shares" : "");
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

/// What an adapter projects onto t, of which a kernel rounds the factor to two bf16 numbers.
struct Projected {
  std::vector<double> t;
  std::vector<double> magnitude;  ///< the sums of its products' absolute values
};

Projected project(const std::vector<float>& x, const std::vector<float>& a, const Case& c, const Member& m,
                  float scale) {
  Projected p{std::vector<double>(static_cast<std::size_t>(c.rows * m.rank)),
              std::vector<double>(static_cast<std::size_t>(c.rows * m.rank))};
  for (std::int64_t row = 0; row < c.rows; ++row)
    for (std::int64_t rank = 0; rank < m.rank; ++rank)
      for (std::int64_t k = 0; k < m.depth; ++k) {
        const auto at = static_cast<std::size_t>(row * m.rank + rank);
        const double product =
            double{scale} * double{x[static_cast<std::size_t>(row * m.depth + k)]} *
            double{a[static_cast<std::size_t>(c.transposed ? k * m.rank + rank : rank * m.depth + k)]};
        p.t[at] += product;
        p.magnitude[at] += std::abs(product);
      }
  return p;
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
  std::vector<double> slack(expected.size());  // by what t is rounded to bf16
  const auto add_product = [&](const auto& left, const std::vector<float>& right, std::int64_t depth,
                               double rounding = 0) {
    for (std::int64_t row = 0; row < c.rows; ++row)
      for (std::int64_t column = 0; column < c.columns; ++column)
        for (std::int64_t k = 0; k < depth; ++k) {
          const double product = static_cast<double>(left[static_cast<std::size_t>(row * depth + k)]) *
                                 static_cast<double>(right[static_cast<std::size_t>(
                                     c.transposed ? k * c.columns + column : column * depth + k)]);
          const auto at = static_cast<std::size_t>(row * c.columns + column);
          expected[at] += product;
          slack[at] += rounding * std::abs(product);
        }
  };
  std::list<test::OnGpu<std::uint16_t>> matrices;
  std::list<test::OnGpu<float>> factors;
  std::vector<Projected> projected;
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
    const auto b = numbers(c.columns * m.rank, seed++);
    to.b = factors.emplace_back(b).data();
    if (!c.projects) {
      const auto t = numbers(c.rows * m.rank, seed++);
      add_product(t, b, m.rank);
      to.t = factors.emplace_back(t).data();
      continue;
    }
    auto a = numbers(m.rank * m.depth, seed++);
    for (float& value : a) value /= 3;  // not what bf16 holds
    to.scale = 0.5f;
    to.a = factors.emplace_back(a).data();
    projected.push_back(project(x, a, c, m, to.scale));
    add_product(projected.back().t, b, m.rank, 1.0 / 256);
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
  const test::OnGpu<unsigned int> ready(
      std::vector<unsigned int>(static_cast<std::size_t>(LowRankProduct::row_groups(c.rows)), 99));
  if (c.shares) probe.ready = base.ready = ready.data();
  const int ways = low_rank_product_ways(probe);
  if (ways == 0) GTEST_SKIP() << "this GPU has no such kernel";
  for (int way = 0; way < ways; ++way) {
    const test::OnGpu<std::uint16_t> out(poison);
    LowRankProduct product = base;
    product.out = out.data();
    std::list<test::OnGpu<float>> results;
    for (LowRankProduct::Member& m : product.members)
      if (m.a)
        m.t_out =
            results.emplace_back(std::vector<float>(static_cast<std::size_t>(c.rows * m.rank), NAN)).data();
    launch_low_rank_product(product, way, nullptr);
    const std::vector<std::uint16_t> got = out.read();
    launch_low_rank_product(product, way, nullptr);
    EXPECT_EQ(got, out.read()) << "way " << way << " is not the same twice";
    for (std::size_t i = 0; i < got.size(); ++i) {
      const double value = from_bf16(got[i]);
      // One rounding to bf16 of a sum in f32; the NaN that was there before fails.
      ASSERT_LE(std::abs(value - expected[i]), 1e-5 + slack[i] + 1.6e-2 * std::abs(expected[i]))
          << "way " << way << ", element " << i << ": " << value << " for " << expected[i];
    }
    auto result = results.begin();
    for (const Projected& p : projected) {
      const std::vector<float> t = result->read();
      for (std::size_t i = 0; i < t.size(); ++i)
        ASSERT_LE(std::abs(double{t[i]} - p.t[i]), 1e-6 + 3e-5 * p.magnitude[i])
            << "way " << way << ", t " << i << ": " << t[i] << " for " << p.t[i];
      ++result;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, LowRankProductTest,
    testing::Values(
        Case{1, 8, false, false, {{8, 1}}}, Case{1, 8, true, false, {{8, 1}}},
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
        Case{2100, 1304, true, false, {{200, 16}, {200, 16}, {200, 16}}},
        Case{1, 8, false, false, {{8, 1}}, true}, Case{1, 8, true, false, {{8, 1}}, true},
        Case{3, 8, false, true, {{8, 3}}, true}, Case{70, 40, true, true, {{72, 3}}, true},
        Case{64, 1024, false, false, {{1024, 8}}, true}, Case{300, 264, false, true, {{520, 13}}, true},
        Case{300, 264, true, false, {{520, 13}}, true}, Case{129, 520, false, true, {{64, 16}}, true},
        Case{129, 520, true, true, {{64, 16}}, true}, Case{2100, 904, false, true, {{72, 16}}, true},
        Case{5000, 904, true, false, {{136, 9}}, true},
        Case{5000, 2312, false, true, {{200, 16}}, true, true},
        Case{2100, 3080, false, false, {{520, 16}}, true, true},
        Case{2100, 1304, true, false, {{520, 13}, {72, 16}, {520, 0}}, true, true},
        Case{1, 8, false, false, {{8, 1}}, true, true}, Case{300, 264, false, true, {{520, 13}}, true, true},
        Case{70, 40, true, true, {{72, 3}}, true, true},
        Case{257, 1032, true, false, {{640, 16}, {72, 1}, {72, 8}}, true, true},
        Case{70, 40, true, false, {{8, 3}, {136, 5}}, true},
        Case{257, 232, true, false, {{640, 16}, {72, 1}, {72, 8}}, true},
        Case{129, 520, false, true, {{64, 16}, {1024, 0}}, true},
        Case{300, 264, false, false, {{72, 8}, {520, 8}, {520, 0}}, true},
        Case{2100, 904, true, false, {{200, 16}, {200, 16}, {200, 16}}, true}));

}  // namespace
}  // namespace wick::cuda
