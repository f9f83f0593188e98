#include "backend/cuda/lora_kernels.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <deque>
#include <limits>
#include <span>
#include <vector>

#include "support/cuda_memory.h"

namespace wick::cuda {
namespace {

/// Activations [rows, columns], `shift` elements behind an aligned address, and a factor or its gradient,
/// [rank, columns], or transposed [columns, rank].
struct Case {
  std::int64_t rows, columns, rank;
  bool transposed;
  std::int64_t shift = 0;
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.rows << " x " << c.columns << ", rank " << c.rank << (c.transposed ? ", transposed" : "")
       << (c.shift != 0 ? ", shifted" : "");
}

/// Between -1 and 1.
std::vector<float> numbers(std::int64_t count, std::uint32_t seed) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) {
    seed = seed * 1664525u + 1013904223u;
    value = static_cast<float>(static_cast<int>(seed >> 8) - (1 << 23)) * 0x1p-23f;
  }
  return values;
}

/// The same, cut to what bf16 holds.
struct Halves {
  Halves(std::int64_t count, std::uint32_t seed) : values(numbers(count, seed)) {
    for (float& value : values) {
      std::uint32_t word = 0;
      std::memcpy(&word, &value, sizeof word);
      word &= 0xffff0000u;
      std::memcpy(&value, &word, sizeof word);
      bits.push_back(static_cast<std::uint16_t>(word >> 16));
    }
  }
  std::vector<float> values;
  std::vector<std::uint16_t> bits;
};

double at(const std::vector<float>& matrix, std::int64_t i) {
  return static_cast<double>(matrix[static_cast<std::size_t>(i)]);
}

std::vector<float> poison(std::int64_t count) {
  return std::vector<float>(static_cast<std::size_t>(count), std::numeric_limits<float>::quiet_NaN());
}

/// Sums of `count` products of numbers up to 1, which may cancel: f32 numbers are the sum of two bf16 ones,
/// to 2^-17, and tensor cores cut what they add in f32.
void expect_sums(const std::vector<float>& got, const std::vector<double>& expected, std::int64_t count) {
  ASSERT_EQ(got.size(), expected.size());
  const double absolute = 3e-5 * std::sqrt(static_cast<double>(count));
  for (std::size_t i = 0; i < got.size(); ++i)
    ASSERT_LE(std::abs(static_cast<double>(got[i]) - expected[i]), absolute)
        << "element " << i << ": " << got[i] << " for " << expected[i];
}

struct Projection {
  static constexpr float scale = 1.75f;
  explicit Projection(const Case& c)
      : x(c.rows * c.columns + c.shift, 1),
        x_there(x.bits),
        a(numbers(c.rank * c.columns, 2)),
        a_there(a),
        out(poison(c.rows * c.rank)),
        sums(c.columns) {
    problem.x = x_there.data() + c.shift;
    problem.a = a_there.data();
    problem.out = out.data();
    problem.rows = c.rows;
    problem.depth = c.columns;
    problem.rank = c.rank;
    problem.rank_step = c.transposed ? 1 : c.columns;
    problem.depth_step = c.transposed ? c.rank : 1;
    problem.scale = scale;
    for (std::int64_t row = 0; row < c.rows; ++row)
      for (std::int64_t i = 0; i < c.rank; ++i) {
        double sum = 0;
        for (std::int64_t k = 0; k < c.columns; ++k)
          sum += at(x.values, c.shift + row * c.columns + k) *
                 at(a, i * problem.rank_step + k * problem.depth_step);
        expected.push_back(sum * static_cast<double>(scale));
      }
  }
  Halves x;
  test::OnGpu<std::uint16_t> x_there;
  std::vector<float> a;
  test::OnGpu<float> a_there;
  test::OnGpu<float> out;
  std::int64_t sums;
  LoraProjection problem{};
  std::vector<double> expected;
};

struct Gradient {
  explicit Gradient(const Case& c)
      : x(c.rows * c.columns + c.shift, 3),
        x_there(x.bits),
        t(numbers(c.rows * c.rank, 4)),
        t_there(t),
        out(poison(c.columns * c.rank)),
        sums(c.rows),
        problem(problem_of(c)),
        partial(poison(lora_gradient_parts(problem) * c.columns * c.rank)),
        expected(static_cast<std::size_t>(c.columns * c.rank)) {
    problem.x = x_there.data() + c.shift;
    problem.t = t_there.data();
    problem.out = out.data();
    problem.partial = partial.data();
    for (std::int64_t row = 0; row < c.rows; ++row)
      for (std::int64_t n = 0; n < c.columns; ++n)
        for (std::int64_t i = 0; i < c.rank; ++i)
          expected[static_cast<std::size_t>(n * problem.column_step + i * problem.rank_step)] +=
              at(x.values, c.shift + row * c.columns + n) * at(t, row * c.rank + i);
  }
  static LoraGradient problem_of(const Case& c) {
    LoraGradient g{};
    g.rows = c.rows;
    g.columns = c.columns;
    g.rank = c.rank;
    g.column_step = c.transposed ? c.rank : 1;
    g.rank_step = c.transposed ? 1 : c.columns;
    return g;
  }
  Halves x;
  test::OnGpu<std::uint16_t> x_there;
  std::vector<float> t;
  test::OnGpu<float> t_there;
  test::OnGpu<float> out;
  std::int64_t sums;
  LoraGradient problem;
  test::OnGpu<float> partial;
  std::vector<double> expected;
};

/// Launches the problems of some cases together, twice; expects their sums, and the same bits again.
template <typename Problem, typename F>
void expect_right(const std::vector<Case>& cases, const F& launch) {
  std::deque<Problem> problems;
  std::vector<decltype(Problem::problem)> members;
  for (const Case& c : cases) members.push_back(problems.emplace_back(c).problem);
  launch(std::span<const decltype(Problem::problem)>(members), nullptr);
  std::vector<std::vector<float>> first;
  for (std::size_t m = 0; m < cases.size(); ++m) {
    SCOPED_TRACE(testing::PrintToString(cases[m]));
    first.push_back(problems[m].out.read());
    expect_sums(first.back(), problems[m].expected, problems[m].sums);
  }
  launch(std::span<const decltype(Problem::problem)>(members), nullptr);
  for (std::size_t m = 0; m < cases.size(); ++m)
    EXPECT_EQ(problems[m].out.read(), first[m]) << "not the same twice";
}

class LoraKernels : public testing::TestWithParam<std::vector<Case>> {
 protected:
  void SetUp() override {
    if (!test::has_gpu()) GTEST_SKIP() << "there is no GPU";
  }
};

TEST_P(LoraKernels, ProjectOntoFactors) { expect_right<Projection>(GetParam(), launch_lora_projections); }

TEST_P(LoraKernels, SumOverRowsForGradients) { expect_right<Gradient>(GetParam(), launch_lora_gradients); }

using Cases = std::vector<Case>;

INSTANTIATE_TEST_SUITE_P(One, LoraKernels,
                         testing::Values(Cases{{1, 8, 1, false}}, Cases{{1, 8, 3, true}},
                                         Cases{{33, 72, 5, false}}, Cases{{130, 200, 8, true, 1}},
                                         Cases{{300, 1288, 17, false}}, Cases{{300, 1288, 24, true, 3}},
                                         Cases{{77, 2000, 64, false}}, Cases{{129, 1000, 33, true}},
                                         Cases{{40, 512, 7, false, 1}}, Cases{{1100, 520, 16, false}},
                                         Cases{{1100, 520, 6, true, 3}}, Cases{{1100, 456, 40, true}},
                                         Cases{{1100, 520, 25, false}}, Cases{{2500, 64, 16, true}},
                                         Cases{{1029, 1032, 13, false}}));

INSTANTIATE_TEST_SUITE_P(
    Joined, LoraKernels,
    testing::Values(Cases{{33, 72, 5, false}, {33, 8, 5, true}},
                    Cases{{1100, 896, 16, true}, {1100, 128, 16, false}, {1100, 264, 16, false, 1}},
                    Cases{{300, 1288, 33, true}, {300, 64, 33, true}},
                    Cases{{65, 64, 8, false},
                          {65, 8, 8, true},
                          {65, 520, 8, false},
                          {65, 72, 8, true, 3},
                          {65, 128, 8, false},
                          {65, 136, 8, true},
                          {65, 1000, 8, false},
                          {65, 16, 8, true}}));

}  // namespace
}  // namespace wick::cuda
