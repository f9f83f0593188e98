// Products as kernels make them, by each implementation that this processor has, against float64.
#include "backend/cpu/matrix_product.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "backend/cpu/activated_product.h"
#include "backend/cpu/amx_matmul.h"
#include "backend/cpu/matmul_dnnl.h"

namespace wick::test {
namespace {

struct Case {
  std::string name;
  std::int64_t m;
  std::int64_t n;
  std::int64_t k;
  ProductOptions options = {};
  bool b_by_columns = true;  ///< as a linear layer's weight lies
  std::int64_t gap = 0;      ///< between rows of a and of b
};

/// Whole tiles and parts of them; one group of chunks of k, and several; rows that are copied, and read in
/// place; more columns than rows, and fewer than threads share.
std::vector<Case> cases() {
  const ProductOptions wide{.c = DType::f32};
  return {{"whole tiles", 160, 192, 256},
          {"parts of tiles", 131, 141, 259},
          {"rows with gaps", 131, 141, 259, {}, true, 5},
          {"one panel", 200, 31, 300, {.packed = true}},
          {"few rows", 9, 70, 290, {.packed = true}},
          {"one row", 1, 70, 290, {.packed = true}},
          {"rows that share sets of a cache", 128, 160, 512},
          {"many columns", 130, 1100, 300},
          {"groups of k", 140, 180, 2100},
          {"groups of k and blocks of rows", 530, 70, 1000, {.packed = true}},
          {"b by rows", 131, 141, 259, {.packed = true}, false},
          {"b by rows with gaps", 160, 192, 1001, {.packed = true}, false, 3},
          {"f32 result", 131, 141, 259, wide},
          {"scaled", 131, 141, 259, {.scale = 0.125f}},
          {"added", 131, 141, 259, {.accumulate = true}},
          {"added to f32", 131, 141, 259, {.c = DType::f32, .accumulate = true}},
          {"with bias", 131, 141, 259, {.bias = DType::f32}},
          {"with bias, packed", 131, 141, 259, {.bias = DType::f32, .packed = true}},
          {"into a wider matrix", 131, 141, 259, {.c_row_stride = 150}},
          {"relu", 131, 141, 259, {.activation = Activation::relu}},
          {"gelu with bias", 131, 141, 259, {.bias = DType::f32, .activation = Activation::gelu}},
          {"gelu_tanh, groups of k", 140, 180, 2100, {.activation = Activation::gelu_tanh, .packed = true}},
          {"silu, few rows", 9, 70, 290, {.activation = Activation::silu, .packed = true}},
          {"sum with a matrix", 131, 141, 259, {.combination = Combination::add}},
          {"gated", 131, 141, 259, {.activation = Activation::silu, .combination = Combination::mul}},
          {"all of it",
           131,
           141,
           259,
           {.bias = DType::f32,
            .activation = Activation::gelu,
            .combination = Combination::add,
            .packed = true}}};
}

std::vector<bfloat16> draw(std::int64_t count, unsigned seed) {
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<float> one(-1, 1);
  std::vector<bfloat16> values;
  for (std::int64_t i = 0; i < count; ++i) values.emplace_back(one(random));
  return values;
}

std::vector<double> widened(const std::vector<bfloat16>& values) {
  std::vector<double> wide;
  for (bfloat16 value : values) wide.push_back(static_cast<double>(static_cast<float>(value)));
  return wide;
}

struct Operands {
  explicit Operands(const Case& of)
      : problem{.m = of.m,
                .n = of.n,
                .k = of.k,
                .a = {of.k + of.gap, 1},
                .b = of.b_by_columns ? MatrixStrides{1, of.k + of.gap} : MatrixStrides{of.n + of.gap, 1},
                .batch = {}},
        a(draw(of.m * (of.k + of.gap), 1)),
        b(draw((of.b_by_columns ? of.n : of.k) * (std::max(of.n, of.k) + of.gap), 2)),
        combined(draw(of.m * of.n, 3)) {}
  MatmulProblem problem;
  std::vector<bfloat16> a;
  std::vector<bfloat16> b;
  std::vector<bfloat16> combined;  // of cases that combine the result with a matrix
};

double activated(double x, Activation activation) {
  switch (activation) {
    case Activation::none: return x;
    case Activation::relu: return std::max(x, 0.0);
    case Activation::gelu: return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    case Activation::gelu_tanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Activation::silu: break;
  }
  return x / (1 + std::exp(-x));
}

double combined(double x, double other, Combination combination) {
  switch (combination) {
    case Combination::none: return x;
    case Combination::add: return x + other;
    case Combination::mul: break;
  }
  return x * other;
}

/// c, which held 0.5 everywhere.
template <typename C>
std::vector<C> run(const MatrixProduct& product, const Case& of, const Operands& x) {
  const std::int64_t row = of.options.c_row_stride > 0 ? of.options.c_row_stride : of.n;
  std::vector<C> c(static_cast<std::size_t>(of.m * row), C(0.5f));
  std::vector<std::byte> packed(of.options.packed ? product.packed_bytes() : 0);
  const void* b = x.b.data();
  if (of.options.packed) {
    product.pack(b, packed.data());
    b = packed.data();
  }
  std::vector<float> scratch(product.scratch_bytes() / sizeof(float) + 1);
  const std::vector<float> bias(static_cast<std::size_t>(of.n), 0.25f);
  product.run_combined(x.a.data(), b, of.options.bias ? bias.data() : nullptr,
                       of.options.combination == Combination::none ? nullptr : x.combined.data(), c.data(),
                       scratch.data());
  return c;
}

template <typename C>
void expect_sums(const MatrixProduct& made, const Case& of) {
  const Operands x(of);
  const std::vector<C> c = run<C>(made, of, x);
  const std::vector<double> a = widened(x.a);
  const std::vector<double> b = widened(x.b);
  const MatmulProblem& p = x.problem;
  const std::int64_t row = of.options.c_row_stride > 0 ? of.options.c_row_stride : of.n;
  // Sums of up to 2,100 terms of magnitude 1 that cancel; f32 ones are added in another order.
  const double relative = std::is_same_v<C, float> ? 1e-5 : 1.6e-2;
  constexpr double absolute = 1e-4;
  for (std::int64_t i = 0; i < of.m; ++i)
    for (std::int64_t j = 0; j < row; ++j) {
      const auto found = static_cast<double>(static_cast<float>(c[static_cast<std::size_t>(i * row + j)]));
      if (j >= of.n) {
        ASSERT_EQ(found, 0.5) << of.name << ": written between rows, at " << i << ", " << j;
        continue;
      }
      double sum = of.options.bias ? 0.25 : 0;
      for (std::int64_t k = 0; k < of.k; ++k)
        sum += a[static_cast<std::size_t>(i * p.a.row + k)] *
               b[static_cast<std::size_t>(k * p.b.row + j * p.b.column)];
      const double product = static_cast<double>(of.options.scale) * sum + (of.options.accumulate ? 0.5 : 0);
      const auto other =
          static_cast<double>(static_cast<float>(x.combined[static_cast<std::size_t>(i * of.n + j)]));
      const double expected =
          combined(activated(product, of.options.activation), other, of.options.combination);
      ASSERT_NEAR(found, expected, absolute + relative * std::abs(expected))
          << of.name << " at " << i << ", " << j;
    }
}

using Make = std::unique_ptr<const MatrixProduct> (*)(const MatmulProblem&, DType, const ProductOptions&);

class MatrixProductTest : public testing::TestWithParam<std::pair<std::string, Make>> {};

TEST_P(MatrixProductTest, MatchesFloat64) {
  int made = 0;
  for (const Case& of : cases()) {
    const auto product = GetParam().second(Operands(of).problem, DType::bf16, of.options);
    if (!product) continue;
    ++made;
    if (of.options.c == DType::f32)
      expect_sums<float>(*product, of);
    else
      expect_sums<bfloat16>(*product, of);
  }
  if (made == 0) GTEST_SKIP() << "not on this processor";
}

INSTANTIATE_TEST_SUITE_P(, MatrixProductTest,
                         testing::Values(std::pair<std::string, Make>{"Amx", AmxMatmul::make},
                                         std::pair<std::string, Make>{"Dnnl", DnnlMatmul::make}),
                         [](const auto& of) { return of.param.first; });

TEST(MatrixProduct, OnAmxHasTheSameBitsWithAnyNumberOfThreads) {
  const int before = omp_get_max_threads();
  int made = 0;
  for (const Case& of : cases()) {
    if (of.options.c == DType::f32) continue;
    const Operands x(of);
    std::vector<std::vector<float>> results;
    for (int threads : {1, 2, 3, 3}) {
      omp_set_num_threads(threads);
      const auto product = AmxMatmul::make(x.problem, DType::bf16, of.options);
      if (!product) continue;
      const std::vector<bfloat16> c = run<bfloat16>(*product, of, x);
      results.emplace_back(c.begin(), c.end());
      ++made;
    }
    for (const std::vector<float>& result : results) EXPECT_EQ(result, results[0]) << of.name;
  }
  omp_set_num_threads(before);
  if (made == 0) GTEST_SKIP() << "not on this processor";
}

TEST(MatrixProduct, PackedWeightsAreSharedByProductsOfAnyNumberOfRows) {
  const auto format = [](std::int64_t m) {
    const MatmulProblem problem{.m = m, .n = 96, .k = 320, .a = {320, 1}, .b = {1, 320}, .batch = {}};
    const auto product = MatrixProduct::make(problem, DType::f32, {.packed = true});
    const auto narrow = MatrixProduct::make(problem, DType::bf16, {.packed = true});
    return product->format() + (narrow ? narrow->format() : "");
  };
  EXPECT_EQ(format(8), format(512));
}

TEST(MatrixProduct, ItsResultIsActivatedInPlaceWhereItLiesAsOneMatrixOfItsDtype) {
  if (!DnnlMatmul::available(DType::f32)) GTEST_SKIP() << "this processor has no fast products of f32";
  MatmulProblem problem{.m = 5, .n = 6, .k = 7, .a = {7, 1}, .b = {1, 7}, .batch = {}};
  const auto is_made = [&](const ProductOptions& options) {
    return ActivatedProduct::make(problem, DType::f32, options) != nullptr;
  };
  EXPECT_TRUE(is_made({.activation = Activation::relu}));
  EXPECT_TRUE(is_made({.c_row_stride = 6, .activation = Activation::silu, .combination = Combination::mul}));
  EXPECT_FALSE(is_made({.combination = Combination::add})) << "oneDNN does that itself";
  EXPECT_FALSE(is_made({.c_row_stride = 8, .activation = Activation::relu}));
  EXPECT_FALSE(is_made({.c = DType::bf16, .activation = Activation::relu}));
  problem.batch.push_back({.size = 2, .a = 35, .b = 42});
  EXPECT_FALSE(is_made({.activation = Activation::relu}));
}

}  // namespace
}  // namespace wick::test
