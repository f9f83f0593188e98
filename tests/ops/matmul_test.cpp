#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <optional>

#include "graph/walk.h"
#include "ops/lora_parts.h"
#include "ops/op_harness.h"
#include "optimize/decompose_scope.h"
#include "wick/error.h"
#include "wick/eval.h"
#include "wick/grad.h"
#include "wick/ops.h"

namespace wick::test {
namespace {

/// Where element `index` of `shape`'s row-major order reads in an array that broadcasts to `shape`.
std::size_t broadcast_position(const Shape& shape, std::int64_t index, const Shape& own) {
  std::int64_t position = 0;
  std::int64_t scale = 1;
  for (int back = 1; back <= shape.rank(); ++back) {
    const std::int64_t at = index % shape.dim(-back);
    index /= shape.dim(-back);
    if (back > own.rank()) continue;
    if (own.dim(-back) != 1) position += at * scale;
    scale *= own.dim(-back);
  }
  return static_cast<std::size_t>(position);
}

Array product(const Array& a, const Array& b) {
  const int ra = a.shape.rank();
  const int rb = b.shape.rank();
  const std::int64_t m = a.shape.dim(-2);
  const std::int64_t k = a.shape.dim(-1);
  const std::int64_t n = b.shape.dim(-1);
  const Shape a_batch = a.shape.slice(0, ra - 2);
  const Shape b_batch = b.shape.slice(0, rb - 2);
  const Shape batch = broadcast_shapes(a_batch, b_batch);
  Array c{batch.inserted(batch.rank(), m).inserted(batch.rank() + 1, n), {}};
  for (std::int64_t i = 0; i < batch.elements(); ++i) {
    const double* pa =
        a.values.data() + broadcast_position(batch, i, a_batch) * static_cast<std::size_t>(m * k);
    const double* pb =
        b.values.data() + broadcast_position(batch, i, b_batch) * static_cast<std::size_t>(k * n);
    for (std::int64_t r = 0; r < m; ++r)
      for (std::int64_t s = 0; s < n; ++s) {
        double sum = 0;
        for (std::int64_t t = 0; t < k; ++t) sum += pa[r * k + t] * pb[t * n + s];
        c.values.push_back(sum);
      }
  }
  return c;
}

Array reshaped(Array array, const Shape& shape) {
  array.shape = shape;
  return array;
}

/// NumPy's matmul, rank-1 operands included.
Array matmul_reference(std::span<const Array> in) {
  Array a = in[0];
  Array b = in[1];
  const bool row = a.shape.rank() == 1;
  const bool column = b.shape.rank() == 1;
  if (row) a.shape = a.shape.inserted(0, 1);
  if (column) b.shape = b.shape.inserted(1, 1);
  Array c = product(a, b);
  if (column) c.shape = c.shape.without(-1);
  if (row) c.shape = c.shape.without(column ? -1 : -2);
  return c;
}

Array transposed(const Array& x) {
  Array t{{x.shape[1], x.shape[0]}, {}};
  for (std::int64_t j = 0; j < x.shape[1]; ++j)
    for (std::int64_t i = 0; i < x.shape[0]; ++i)
      t.values.push_back(x.values[static_cast<std::size_t>(i * x.shape[1] + j)]);
  return t;
}

Array linear_reference(std::span<const Array> in) {
  const Shape& x = in[0].shape;
  const Shape rows{x.slice(0, x.rank() - 1).elements(), x.dim(-1)};
  Array y = product(reshaped(in[0], rows), transposed(in[1]));
  const auto out = static_cast<std::size_t>(in[1].shape[0]);
  for (std::size_t i = 0; in.size() > 2 && i < y.values.size(); ++i) y.values[i] += in[2].values[i % out];
  return reshaped(y, x.with(-1, in[1].shape[0]));
}

constexpr double lora_scale = 1.75;

/// Inputs x, a, b.
Array low_rank_reference(std::span<const Array> in) {
  const Array h = linear_reference(in.first(2));
  Array y = linear_reference(std::vector<Array>{h, in[2]});
  for (double& value : y.values) value *= lora_scale;
  return y;
}

/// Inputs x, weight, bias, a, b.
Array lora_reference(std::span<const Array> in) {
  Array y = linear_reference(in.first(3));
  const Array d = low_rank_reference(std::vector<Array>{in[0], in[3], in[4]});
  for (std::size_t i = 0; i < y.values.size(); ++i) y.values[i] += d.values[i];
  return y;
}

/// Sums of several products, some of which are rounded before they are added: the error is relative to the
/// addends (up to 10), not to a sum in which they may cancel.
Tolerance sum_tolerance(DType dtype) {
  if (dtype == DType::f32) return {1.3e-6, 2e-5};
  if (dtype == DType::bf16) return {1.6e-2, 8e-2};
  if (dtype == DType::f16) return {1e-3, 1e-2};
  return tolerance_of(dtype);
}

const OpInput number{.draw = uniform(-1, 1)};
const OpInput small{.draw = uniform(-0.25, 0.25)};

const bool registered = register_op_cases(
    "Matmul",
    {{.name = "matmul",
      .inputs = {number, number},
      .shapes = {{{2, 3}, {3, 4}},
                 {{1, 1}, {1, 1}},
                 {{5, 1}, {1, 7}},
                 {{1, 5}, {5, 1}},
                 {{3}, {3}},
                 {{3}, {3, 4}},
                 {{2, 3}, {3}},
                 {{2, 2, 3}, {3}},
                 {{3}, {2, 3, 2}},
                 {{2, 3, 4}, {4, 5}},
                 {{3, 4}, {2, 4, 5}},
                 {{2, 1, 3, 4}, {3, 4, 2}},
                 {{1, 3, 4}, {2, 4, 2}},
                 {{2, 3, 4}, {1, 4, 2}},
                 {{2, 1, 2, 1, 2, 3}, {3, 1, 2, 3, 2}},
                 {{0, 3}, {3, 2}},
                 {{2, 0}, {0, 3}},
                 {{2, 3}, {3, 0}},
                 {{0, 2, 3}, {3, 2}},
                 {{2, 0, 2, 3}, {0, 3, 2}},
                 {{33, 67}, {67, 45}},
                 {{1, 131}, {131, 77}},
                 {{77, 131}, {131, 1}},
                 {{3, 17, 19}, {3, 19, 23}}},
      .op = [](std::span<const Tensor> x) { return matmul(x[0], x[1]); },
      .reference = matmul_reference},
     {.name = "matmul_transposed",
      .inputs = {number, number},
      .shapes = {{{3, 2}, {4, 3}},
                 {{1, 1}, {1, 1}},
                 {{67, 1}, {45, 67}},
                 {{67, 33}, {45, 67}},
                 {{2, 9, 5}, {2, 7, 9}}},
      .op = [](std::span<const Tensor> x) { return matmul(transpose(x[0]), transpose(x[1])); },
      .reference =
          [](std::span<const Array> in) {
            std::vector<Array> flipped;
            for (const Array& x : in) {
              const Shape matrix{x.shape.dim(-2), x.shape.dim(-1)};
              Array t{x.shape.with(-2, matrix[1]).with(-1, matrix[0]), {}};
              const std::size_t size = static_cast<std::size_t>(matrix.elements());
              for (std::size_t at = 0; at < x.values.size(); at += size) {
                const auto first = x.values.begin() + static_cast<std::ptrdiff_t>(at);
                const Array one = transposed({matrix, {first, first + static_cast<std::ptrdiff_t>(size)}});
                t.values.insert(t.values.end(), one.values.begin(), one.values.end());
              }
              flipped.push_back(t);
            }
            return product(flipped[0], flipped[1]);
          }},
     {.name = "matmul_integers",
      .inputs = {{.draw = integers(0, 3)}, {.draw = integers(0, 3)}},
      .shapes = {{{2, 3}, {3, 4}}, {{2, 3, 4}, {2, 4, 1}}, {{5, 70}, {2, 1, 70, 3}}},
      .op = [](std::span<const Tensor> x) { return matmul(x[0], x[1]); },
      .reference =
          [](std::span<const Array> in) {
            Array c = product(in[0], in[1]);
            return c;
          },
      .dtypes = {DType::i64, DType::i32},
      .gradient = false},
     {.name = "linear",
      .inputs = {number, number},
      .shapes = {{{3}, {4, 3}},
                 {{2, 3}, {4, 3}},
                 {{2, 3, 5}, {4, 5}},
                 {{1, 131}, {77, 131}},
                 {{3, 11, 67}, {45, 67}},
                 {{0, 3}, {2, 3}},
                 {{2, 0}, {3, 0}}},
      .op = [](std::span<const Tensor> x) { return linear(x[0], x[1]); },
      .reference = linear_reference},
     {.name = "linear_bias",
      .inputs = {number, number, number},
      .shapes =
          {{{3}, {4, 3}, {4}}, {{2, 3, 5}, {4, 5}, {4}}, {{13, 67}, {45, 67}, {45}}, {{2, 0}, {3, 0}, {3}}},
      .op = [](std::span<const Tensor> x) { return linear(x[0], x[1], x[2]); },
      .reference = linear_reference,
      .tolerance = sum_tolerance},
     {.name = "lora_linear",
      .inputs = {small, small, small, small, small},
      .shapes = {{{2, 3, 5}, {4, 5}, {4}, {2, 5}, {4, 2}},
                 {{5}, {4, 5}, {4}, {1, 5}, {4, 1}},
                 {{3, 7, 33}, {21, 33}, {21}, {8, 33}, {21, 8}}},
      .op = [](std::span<const Tensor> x) { return lora_linear(x[0], x[1], x[2], x[3], x[4], lora_scale); },
      .reference = lora_reference,
      .tolerance = sum_tolerance},
     {.name = "lora_linear_transposed",
      .inputs = {small, small, small, small, small},
      .shapes = {{{2, 3, 5}, {5, 4}, {4}, {5, 2}, {2, 4}},
                 {{5}, {5, 4}, {4}, {5, 1}, {1, 4}},
                 {{0, 5}, {5, 4}, {4}, {5, 1}, {1, 4}},
                 {{2, 1}, {1, 1}, {1}, {1, 1}, {1, 1}},
                 {{3, 7, 33}, {33, 21}, {21}, {33, 8}, {8, 21}}},
      .op =
          [](std::span<const Tensor> x) {
            return record_lora_linear(x[0], x[1], x[2], x[3], x[4], lora_scale, true);
          },
      .reference =
          [](std::span<const Array> in) {
            return lora_reference(
                std::vector<Array>{in[0], transposed(in[1]), in[2], transposed(in[3]), transposed(in[4])});
          },
      .tolerance = sum_tolerance},
     {.name = "low_rank",
      .inputs = {small, small, small},
      .shapes = {{{2, 3, 5}, {2, 5}, {4, 2}},
                 {{5}, {1, 5}, {4, 1}},
                 {{0, 5}, {1, 5}, {4, 1}},
                 {{3, 7, 33}, {8, 33}, {21, 8}}},
      .op = [](std::span<const Tensor> x) { return low_rank(x[0], x[1], x[2], lora_scale); },
      .reference = low_rank_reference,
      .tolerance = sum_tolerance}});

Array draw(const Shape& shape, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  const Draw number_of = uniform(-1, 1);
  Array array{shape, {}};
  for (std::int64_t i = 0; i < shape.elements(); ++i) array.values.push_back(number_of(random, 0));
  return array;
}

TEST(Matmul, LargeProductsMatchFloat64) {
  for (DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    const Array a = rounded(draw({2, 70, 300}, 1), dtype);
    const Array b = rounded(draw({2, 300, 130}, 2), dtype);
    expect_close(matmul(make_tensor(a, dtype), make_tensor(b, dtype)), product(a, b),
                 dtype == DType::f32 ? Tolerance{1.3e-6, 2e-5}  // f32 sums of 300 terms near 1
                                     : Tolerance{1.6e-2, 1e-4},
                 fmt::format("{}", name_of(dtype)));
  }
}

TEST(Matmul, MixedDtypesPromote) {
  const Array a = draw({3, 4}, 1);
  const Array b = rounded(draw({4, 2}, 2), DType::bf16);
  const Tensor c = matmul(make_tensor(a, DType::f32), make_tensor(b, DType::bf16));
  EXPECT_EQ(c.dtype(), DType::f32);
  expect_close(c, product(rounded(a, DType::f32), b), {1.3e-6, 1e-5}, "f32 by bf16");
}

TEST(Matmul, ErrorsNameTheShapes) {
  const Tensor a = zeros({2, 3});
  expect_error<ShapeError>(
      [&] {
        matmul(a, zeros({4, 2}));
      },
      {"matmul: the inner dimensions differ: 3 columns on the left, 4 rows on the right",
       "f32[2, 3], f32[4, 2]", "matmul_test.cpp"});
  expect_error<ShapeError>(
      [&] {
        matmul(zeros({2, 2, 3}), zeros({3, 3, 2}));
      },
      {"matmul: shapes [2] and [3] do not broadcast"});
  expect_error<ShapeError>([&] { matmul(a, Tensor::scalar(1.0f)); }, {"a rank-0 tensor has none"});
  expect_error<DTypeError>(
      [&] {
        matmul(zeros({2, 2}, DType::bool_), zeros({2, 2}, DType::bool_));
      },
      {"matmul: bool matrices have no product"});
}

TEST(Linear, ReadsAWeightOfAnotherDtype) {
  // More rows than are widened at a time, and not a multiple of them.
  const Array w = rounded(draw({301, 33}, 2), DType::bf16);
  const Array bias = rounded(draw({301}, 3), DType::bf16);
  for (std::int64_t rows : {1, 5}) {
    const Array x = rounded(draw({rows, 33}, 1), DType::f32);
    for (bool decomposed : {false, true}) {
      std::optional<DecomposeScope> scope;
      if (decomposed) scope.emplace();
      const Tensor y =
          linear(make_tensor(x, DType::f32), make_tensor(w, DType::bf16), make_tensor(bias, DType::bf16));
      EXPECT_EQ(y.dtype(), DType::f32);
      expect_close(y, linear_reference(std::vector<Array>{x, w, bias}), {1.3e-6, 1e-5}, "f32 x, bf16 weight");
    }
  }
}

TEST(Linear, FrozenWeightsAreNoPartOfTheGradient) {
  const Tensor x = ones({5, 3});
  const Tensor weight = ones({4, 3});
  const Tensor a = ones({2, 3});
  const Tensor b = ones({4, 2});
  const std::vector<Tensor> gradients = grad(sum(lora_linear(x, weight, {}, a, b, 2)), {a, b});
  for (const Node* node : walk(gradients, WalkThrough::everything).order)
    EXPECT_NE(node, weight.node()) << "the gradients of the adapter depend on the base weight";
}

TEST(Linear, ErrorsNameTheShapes) {
  expect_error<ShapeError>(
      [] {
        linear(zeros({2, 3}), zeros({4, 5}));
      },
      {"linear: x has 3 features, the weight takes 5", "matmul_test.cpp"});
  expect_error<ShapeError>(
      [] {
        linear(zeros({2, 3}), zeros({3}));
      },
      {"the weight must be [out, in], not [3]"});
  expect_error<ShapeError>(
      [] {
        linear(zeros({2, 3}), zeros({4, 3}), zeros({3}));
      },
      {"the bias must be [4] as the weight has 4 rows, not [3]"});
  expect_error<DTypeError>([] { linear(zeros({2, 3}, DType::i64), zeros({4, 3})); }, {"i64"});
}

TEST(LoraLinear, KeepsF32AdaptersOnABf16Base) {
  const Array x = rounded(draw({6, 33}, 1), DType::bf16);
  const Array w = rounded(draw({21, 33}, 2), DType::bf16);
  const Array bias{{21}, std::vector<double>(21, 0.0)};
  const Array a = rounded(draw({4, 33}, 3), DType::f32);
  const Array b = rounded(draw({21, 4}, 4), DType::f32);
  const Tensor ta = make_tensor(a, DType::f32);
  const Tensor y = lora_linear(make_tensor(x, DType::bf16), make_tensor(w, DType::bf16), {}, ta,
                               make_tensor(b, DType::f32), lora_scale);
  EXPECT_EQ(y.dtype(), DType::bf16);
  expect_close(y, lora_reference(std::vector<Array>{x, w, bias, a, b}), sum_tolerance(DType::bf16),
               "bf16 base");
  EXPECT_EQ(grad(sum(cast(y, DType::f32)), {ta})[0].dtype(), DType::f32);
}

TEST(LoraLinear, OfBf16AndItsGradientsMatchFloat64) {
  struct Sizes {
    Shape x;
    std::int64_t out;
    std::int64_t rank;
  };
  for (const Sizes& s :
       {Sizes{{70, 64}, 136, 8}, Sizes{{3, 5, 72}, 40, 16}, Sizes{{1, 200}, 64, 3}, Sizes{{300, 96}, 104, 40},
        Sizes{{2100, 40}, 48, 17}, Sizes{{2064, 72}, 24, 12}, Sizes{{2052, 40}, 16, 5}}) {
    const std::int64_t in = s.x.dim(-1);
    const auto scaled = [](Array array, double factor, DType dtype) {
      for (double& x : array.values) x *= factor;
      return rounded(array, dtype);
    };
    const Array x = rounded(draw(s.x, 1), DType::bf16);
    const Array w = scaled(draw({s.out, in}, 2), 0.1, DType::bf16);
    const Array bias = rounded(draw({s.out}, 3), DType::bf16);
    const Array a = scaled(draw({s.rank, in}, 4), 0.1, DType::f32);
    const Array b = scaled(draw({s.out, s.rank}, 5), 0.1, DType::f32);
    const Array weights = rounded(draw(s.x.with(-1, s.out), 6), DType::bf16);
    const auto run = [&](DType activations, DType adapter, bool flips) {
      const auto lying = [&](const Array& matrix) { return flips ? transposed(matrix) : matrix; };
      const std::vector<Tensor> wanted{make_tensor(x, activations), make_tensor(lying(a), adapter),
                                       make_tensor(lying(b), adapter)};
      const Tensor y =
          record_lora_linear(wanted[0], make_tensor(lying(w), activations), make_tensor(bias, activations),
                             wanted[1], wanted[2], lora_scale, flips);
      std::vector<Tensor> results = grad(sum(y * make_tensor(weights, activations)), wanted);
      results.push_back(y);
      return results;
    };
    for (const bool flips : {false, true}) {
      const std::vector<Tensor> found = run(DType::bf16, DType::f32, flips);
      const std::vector<Tensor> exact = run(DType::f64, DType::f64, flips);
      const std::string context =
          fmt::format("{} to {} rank {}{}", s.x.str(), s.out, s.rank, flips ? ", transposed" : "");
      const Tolerance rounded_once = sum_tolerance(DType::bf16);
      // Sums of up to 2100 terms near 1 of exact 16-bit numbers and f32 ones, of which a kernel may use 16
      // bits.
      const Tolerance of_adapter{1e-4, 5e-3};
      expect_close(found[0], read_tensor(exact[0]), rounded_once, context + ", gradient of x");
      expect_close(found[1], read_tensor(exact[1]), of_adapter, context + ", gradient of a");
      expect_close(found[2], read_tensor(exact[2]), of_adapter, context + ", gradient of b");
      expect_close(found[3], read_tensor(exact[3]), rounded_once, context);
    }
  }
}

TEST(LowRank, ErrorsNameTheShapes) {
  expect_error<ShapeError>(
      [] {
        low_rank(zeros({2, 3}), zeros({2, 4}), zeros({4, 2}), 1);
      },
      {"low_rank: the adapter's a must be [rank, 3], not [2, 4]"});
  expect_error<ShapeError>(
      [] {
        low_rank(zeros({2, 3}), zeros({2, 3}), zeros({4, 3}), 1);
      },
      {"low_rank: the adapter's b must be [4, 2], not [4, 3]"});
  expect_error<ShapeError>(
      [] {
        low_rank(zeros({2, 3}), zeros({2, 3}), zeros({4}), 1);
      },
      {"low_rank: the adapter's b must be [out, rank], not [4]"});
}

TEST(LoraLinear, ErrorsNameTheShapes) {
  const Tensor x = zeros({2, 3});
  const Tensor w = zeros({4, 3});
  expect_error<ShapeError>(
      [&] {
        lora_linear(x, w, {}, zeros({2, 4}), zeros({4, 2}), 1);
      },
      {"lora_linear: the adapter's a must be [rank, 3], not [2, 4]"});
  expect_error<ShapeError>(
      [&] {
        lora_linear(x, w, {}, zeros({2, 3}), zeros({4, 3}), 1);
      },
      {"the adapter's b must be [4, 2], not [4, 3]"});
  expect_error<DTypeError>(
      [&] {
        lora_linear(x, w, {}, zeros({2, 3}), zeros({4, 2}, DType::bf16), 1);
      },
      {"the adapter's matrices must have one dtype, not f32 and bf16"});
}

}  // namespace
}  // namespace wick::test
