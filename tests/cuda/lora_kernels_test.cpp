#include "backend/cuda/lora_kernels.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
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

class LoraKernels : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (!test::has_gpu()) GTEST_SKIP() << "there is no GPU";
  }
};

TEST_P(LoraKernels, ProjectOntoAFactor) {
  constexpr float scale = 1.75f;
  const Case& c = GetParam();
  const Halves x(c.rows * c.columns + c.shift, 1);
  const std::vector<float> a = numbers(c.rank * c.columns, 2);
  const test::OnGpu<std::uint16_t> x_there(x.bits);
  const test::OnGpu<float> a_there(a);
  const test::OnGpu<float> out(poison(c.rows * c.rank));
  LoraProjection p{};
  p.x = x_there.data() + c.shift;
  p.a = a_there.data();
  p.out = out.data();
  p.rows = c.rows;
  p.depth = c.columns;
  p.rank = c.rank;
  p.rank_step = c.transposed ? 1 : c.columns;
  p.depth_step = c.transposed ? c.rank : 1;
  p.scale = scale;
  std::vector<double> expected;
  for (std::int64_t row = 0; row < c.rows; ++row)
    for (std::int64_t i = 0; i < c.rank; ++i) {
      double sum = 0;
      for (std::int64_t k = 0; k < c.columns; ++k)
        sum += at(x.values, c.shift + row * c.columns + k) * at(a, i * p.rank_step + k * p.depth_step);
      expected.push_back(sum * static_cast<double>(scale));
    }
  launch_lora_projection(p, nullptr);
  const std::vector<float> first = out.read();
  expect_sums(first, expected, c.columns);
  launch_lora_projection(p, nullptr);
  EXPECT_EQ(out.read(), first) << "not the same twice";
}

TEST_P(LoraKernels, SumOverRowsForAGradient) {
  const Case& c = GetParam();
  const Halves x(c.rows * c.columns + c.shift, 3);
  const std::vector<float> t = numbers(c.rows * c.rank, 4);
  const test::OnGpu<std::uint16_t> x_there(x.bits);
  const test::OnGpu<float> t_there(t);
  const test::OnGpu<float> out(poison(c.columns * c.rank));
  LoraGradient g{};
  g.x = x_there.data() + c.shift;
  g.t = t_there.data();
  g.out = out.data();
  g.rows = c.rows;
  g.columns = c.columns;
  g.rank = c.rank;
  g.column_step = c.transposed ? c.rank : 1;
  g.rank_step = c.transposed ? 1 : c.columns;
  const test::OnGpu<float> partial(poison(lora_gradient_parts(g) * c.columns * c.rank));
  g.partial = partial.data();
  std::vector<double> expected(static_cast<std::size_t>(c.columns * c.rank));
  for (std::int64_t row = 0; row < c.rows; ++row)
    for (std::int64_t n = 0; n < c.columns; ++n)
      for (std::int64_t i = 0; i < c.rank; ++i)
        expected[static_cast<std::size_t>(n * g.column_step + i * g.rank_step)] +=
            at(x.values, c.shift + row * c.columns + n) * at(t, row * c.rank + i);
  launch_lora_gradient(g, nullptr);
  const std::vector<float> first = out.read();
  expect_sums(first, expected, c.rows);
  launch_lora_gradient(g, nullptr);
  EXPECT_EQ(out.read(), first) << "not the same twice";
}

INSTANTIATE_TEST_SUITE_P(Shapes, LoraKernels,
                         testing::Values(Case{1, 8, 1, false}, Case{1, 8, 3, true}, Case{33, 72, 5, false},
                                         Case{130, 200, 8, true, 1}, Case{300, 1288, 17, false},
                                         Case{300, 1288, 24, true, 3}, Case{77, 2000, 64, false},
                                         Case{129, 1000, 33, true}, Case{40, 512, 7, false, 1},
                                         Case{1100, 520, 16, false}, Case{1100, 520, 6, true, 3},
                                         Case{1100, 456, 40, true}, Case{1100, 520, 25, false},
                                         Case{2500, 64, 16, true}, Case{1029, 1032, 13, false}));

}  // namespace
}  // namespace wick::cuda
