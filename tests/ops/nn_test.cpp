#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/op_harness.h"
#include "wick/error.h"
#include "wick/ops.h"

namespace wick::test {
namespace {

/// Applies f to each line along `axis` (rows of `count` elements, `step` apart).
template <typename F>
Array along(const Array& x, int axis, const F& f) {
  Array y = x;
  const int at = x.shape.normalize_axis(axis);
  const auto count = static_cast<std::size_t>(x.shape[at]);
  const auto step = static_cast<std::size_t>(x.shape.slice(at + 1, x.shape.rank()).elements());
  if (x.values.empty()) return y;
  for (std::size_t first = 0; first < x.values.size(); ++first) {
    if (first / step % count != 0) continue;
    std::vector<double> line;
    for (std::size_t i = 0; i < count; ++i) line.push_back(x.values[first + i * step]);
    line = f(line);
    for (std::size_t i = 0; i < count; ++i) y.values[first + i * step] = line[i];
  }
  return y;
}

std::vector<double> softmax_line(std::vector<double> x) {
  const double top = *std::max_element(x.begin(), x.end());
  double sum = 0;
  for (double& v : x) sum += v = std::exp(v - top);
  for (double& v : x) v /= sum;
  return x;
}

std::vector<double> log_softmax_line(std::vector<double> x) {
  const double top = *std::max_element(x.begin(), x.end());
  double sum = 0;
  for (double v : x) sum += std::exp(v - top);
  for (double& v : x) v -= top + std::log(sum);
  return x;
}

Reference lines(int axis, std::vector<double> (*f)(std::vector<double>)) {
  return [=](std::span<const Array> in) { return along(in[0], axis, f); };
}

constexpr double eps = 1e-3;

/// The weight and bias belong to the last dimension; both may be absent.
Array norm_reference(std::span<const Array> in, bool centered) {
  return along(in[0], -1, [&](std::vector<double> x) {
    const auto d = static_cast<double>(x.size());
    double mean = 0;
    double squares = 0;
    for (double v : x) mean += centered ? v / d : 0;
    for (double v : x) squares += (v - mean) * (v - mean) / d;
    for (std::size_t i = 0; i < x.size(); ++i) {
      x[i] = (x[i] - mean) / std::sqrt(squares + eps);
      if (in.size() > 1) x[i] *= in[1].values[i];
      if (in.size() > 2) x[i] += in[2].values[i];
    }
    return x;
  });
}
Array rms_reference(std::span<const Array> in) { return norm_reference(in, false); }
Array layer_reference(std::span<const Array> in) { return norm_reference(in, true); }

/// Inputs x [b, h, l, d] and angles as cos and sin [b or 1, l, d/2].
Array rope_reference(std::span<const Array> in) {
  Array y = in[0];
  const Shape& s = y.shape;
  const auto half = static_cast<std::size_t>(s[3] / 2);
  const auto d = 2 * half;
  for (std::size_t row = 0; d > 0 && row < y.values.size() / d; ++row) {
    const auto length = static_cast<std::size_t>(s[2]);
    const std::size_t batch = in[1].shape[0] == 1 ? 0 : row / length / static_cast<std::size_t>(s[1]);
    for (std::size_t i = 0; i < half; ++i) {
      const double c = in[1].values[(batch * length + row % length) * half + i];
      const double n = in[2].values[(batch * length + row % length) * half + i];
      const double x1 = in[0].values[row * d + i];
      const double x2 = in[0].values[row * d + half + i];
      y.values[row * d + i] = x1 * c - x2 * n;
      y.values[row * d + half + i] = x2 * c + x1 * n;
    }
  }
  return y;
}

std::vector<std::vector<Shape>> axis_shapes() {
  return {{{1}}, {{7}}, {{0, 3}}, {{3, 0}}, {{3, 5}}, {{2, 3, 5}}, {{5, 67}}, {{3, 1031}}};
}

/// The 16-bit results of a norm are rounded before and after the weight, and may cancel against the bias.
Tolerance norm_tolerance(DType dtype) {
  if (dtype == DType::bf16) return {1.6e-2, 2e-2};
  if (dtype == DType::f16) return {2e-3, 3e-3};
  return tolerance_of(dtype);
}

/// Two products of numbers up to 1 that may cancel; the angles are kept in f32.
Tolerance rope_tolerance(DType dtype) {
  return dtype == DType::f64 ? Tolerance{1e-6, 1e-6} : tolerance_of(dtype);
}

/// The decomposition rounds silu(gate) before the product, as PyTorch does.
Tolerance swiglu_tolerance(DType dtype) {
  return dtype == DType::f16 ? Tolerance{2e-3, 1e-5} : tolerance_of(dtype);
}

const OpInput number{.draw = uniform(-2, 2)};
const OpInput angle{.draw = uniform(-1, 1), .dtype = DType::f32, .gradient = false};

const bool registered = register_op_cases(
    "Nn",
    {{.name = "softmax",
      .inputs = {{.draw = uniform(-4, 4)}},
      .shapes = axis_shapes(),
      .op = [](std::span<const Tensor> x) { return softmax(x[0]); },
      .reference = lines(-1, softmax_line)},
     {.name = "softmax_first_axis",
      .inputs = {{.draw = uniform(-4, 4)}},
      .shapes = {{{3, 5}}, {{67, 3}}, {{5, 2, 3}}},
      .op = [](std::span<const Tensor> x) { return softmax(x[0], 0); },
      .reference = lines(0, softmax_line)},
     {.name = "log_softmax",
      .inputs = {{.draw = uniform(-4, 4)}},
      .shapes = axis_shapes(),
      .op = [](std::span<const Tensor> x) { return log_softmax(x[0]); },
      .reference = lines(-1, log_softmax_line)},
     {.name = "log_softmax_middle_axis",
      .inputs = {{.draw = uniform(-4, 4)}},
      .shapes = {{{2, 3, 5}}, {{3, 67, 3}}},
      .op = [](std::span<const Tensor> x) { return log_softmax(x[0], 1); },
      .reference = lines(1, log_softmax_line)},
     {.name = "rms_norm_plain",
      .inputs = {number},
      .shapes = axis_shapes(),
      .op = [](std::span<const Tensor> x) { return rms_norm(x[0], {}, eps); },
      .reference = rms_reference},
     {.name = "rms_norm",
      .inputs = {number, number},
      .shapes = {{{5}, {5}},
                 {{3, 5}, {5}},
                 {{1, 67}, {67}},
                 {{2, 3, 67}, {67}},
                 {{5, 1031}, {1031}},
                 {{0, 3}, {3}},
                 {{3, 1}, {1}}},
      .op = [](std::span<const Tensor> x) { return rms_norm(x[0], x[1], eps); },
      .reference = rms_reference,
      .tolerance = norm_tolerance},
     {.name = "layer_norm_plain",
      .inputs = {number},
      .shapes = axis_shapes(),
      .op = [](std::span<const Tensor> x) { return layer_norm(x[0], {}, {}, eps); },
      .reference = layer_reference,
      .tolerance = norm_tolerance},
     {.name = "layer_norm_of_far_rows",
      .inputs = {{.draw = uniform(9, 11)}},
      .shapes = {{{1, 6}}, {{3, 5}}, {{7, 67}}, {{2, 3, 64}}},
      .op = [](std::span<const Tensor> x) { return layer_norm(x[0], {}, {}, eps); },
      .reference = layer_reference,
      .tolerance = norm_tolerance},
     {.name = "layer_norm_weight",
      .inputs = {number, number},
      .shapes = {{{3, 5}, {5}}, {{1, 67}, {67}}, {{7, 67}, {67}}},
      .op = [](std::span<const Tensor> x) { return layer_norm(x[0], x[1], {}, eps); },
      .reference = layer_reference,
      .tolerance = norm_tolerance},
     {.name = "layer_norm",
      .inputs = {number, number, number},
      .shapes = {{{5}, {5}, {5}}, {{2, 3, 5}, {5}, {5}}, {{3, 1031}, {1031}, {1031}}, {{0, 3}, {3}, {3}}},
      .op = [](std::span<const Tensor> x) { return layer_norm(x[0], x[1], x[2], eps); },
      .reference = layer_reference,
      .tolerance = norm_tolerance},
     {.name = "rope",
      .inputs = {number, angle, angle},
      .shapes = {{{1, 1, 1, 2}, {1, 1, 1}, {1, 1, 1}},
                 {{2, 2, 3, 6}, {1, 3, 3}, {1, 3, 3}},
                 {{2, 2, 3, 6}, {2, 3, 3}, {2, 3, 3}},
                 {{3, 2, 5, 46}, {3, 5, 23}, {3, 5, 23}},
                 {{1, 0, 3, 4}, {1, 3, 2}, {1, 3, 2}},
                 {{2, 3, 17, 128}, {1, 17, 64}, {1, 17, 64}}},
      .op = [](std::span<const Tensor> x) { return rope(x[0], x[1], x[2]); },
      .reference = rope_reference,
      .tolerance = rope_tolerance},
     {.name = "swiglu",
      .inputs = {number, number},
      .shapes = {{{1}, {1}}, {{3, 5}, {3, 5}}, {{0}, {0}}, {{7, 131}, {7, 131}}},
      .op = [](std::span<const Tensor> x) { return swiglu(x[0], x[1]); },
      .reference = pointwise([](double gate, double up) { return gate / (1 + std::exp(-gate)) * up; }),
      .tolerance = swiglu_tolerance}});

constexpr float nan = std::numeric_limits<float>::quiet_NaN();
constexpr float inf = std::numeric_limits<float>::infinity();

TEST(Softmax, HandlesInfinitiesAndKeepsNan) {
  const std::vector<float> half = softmax(Tensor::from<float>({-inf, 3, 3, -inf}, {4})).to_vector<float>();
  EXPECT_EQ(half, (std::vector<float>{0, 0.5f, 0.5f, 0}));
  for (float bad : {nan, inf}) {
    std::vector<float> row(37, 1.0f);
    row[20] = bad;
    for (float y : softmax(Tensor::from(row, {37})).to_vector<float>()) EXPECT_TRUE(std::isnan(y));
    for (float y : log_softmax(Tensor::from(row, {37})).to_vector<float>())
      EXPECT_TRUE(std::isnan(y)) << "log_softmax of a row with " << bad;
  }
  for (float y : softmax(Tensor::from<float>({-inf, -inf}, {2})).to_vector<float>())
    EXPECT_TRUE(std::isnan(y));
}

TEST(Softmax, SurvivesLargeNumbers) {
  const std::vector<float> y = softmax(Tensor::from<float>({1e30f, 1e30f, -1e30f}, {3})).to_vector<float>();
  EXPECT_EQ(y, (std::vector<float>{0.5f, 0.5f, 0}));
}

TEST(Softmax, TakesFloatingDtypesOnly) {
  expect_error<DTypeError>([] { softmax(zeros({3}, DType::i64)); }, {"softmax", "i64", "nn_test.cpp"});
  expect_error<ShapeError>([] { softmax(zeros({3}), 1); }, {"axis 1 is out of range for shape [3]"});
}

TEST(RmsNorm, RoundsBeforeTheWeightAsHuggingFaceDoes) {
  // 1 / sqrt(mean(x^2)) of {1, 1, 1, 3} is 0.57735; in bf16 0.578125, and times 1.0078125 that is 0.58264,
  // which rounds to 0.58203; unrounded it would be 0.58186.
  const Tensor x = cast(Tensor::from<float>({1, 1, 1, 3}, {4}), DType::bf16);
  const Tensor weight = cast(full({4}, 1.0078125), DType::bf16);
  const float y = cast(rms_norm(x, weight, 0), DType::f32).to_vector<float>()[0];
  EXPECT_EQ(y, static_cast<float>(bfloat16(static_cast<float>(bfloat16(0.5773503f)) * 1.0078125f)));
}

TEST(RmsNorm, KeepsNan) {
  for (float y : rms_norm(Tensor::from<float>({1, nan, 2}, {3}), ones({3}), 1e-5).to_vector<float>())
    EXPECT_TRUE(std::isnan(y));
}

TEST(Norms, ErrorsNameTheShapes) {
  expect_error<ShapeError>(
      [] {
        rms_norm(zeros({2, 3}), zeros({4}), 1e-5);
      },
      {"rms_norm: weight and bias must be [3], the last dimension of x, not [4]"});
  expect_error<ShapeError>([] { layer_norm(Tensor::scalar(1.0f), {}, {}, 1e-5); }, {"x must be [..., d]"});
  expect_error<ArgumentError>([] { layer_norm(zeros({3}), {}, {}, -1); },
                              {"eps must not be negative, it is -1"});
  expect_error<DTypeError>([] { rms_norm(zeros({3}, DType::i32), {}, 1e-5); }, {"i32"});
}

TEST(LayerNorm, TakesABiasAlone) {
  const Tensor y = layer_norm(Tensor::from<float>({-1, 1}, {2}), {}, Tensor::from<float>({10, 20}, {2}), 0);
  EXPECT_EQ(y.to_vector<float>(), (std::vector<float>{9, 21}));
}

TEST(Rope, ErrorsNameTheShapes) {
  const Tensor table = zeros({1, 3, 2});
  expect_error<ShapeError>(
      [&] {
        rope(zeros({3, 4}), table, table);
      },
      {"x must be [batch, heads, length, d], not [3, 4]"});
  expect_error<ShapeError>([&] { rope(zeros({1, 2, 3, 5}), table, table); }, {"must be even, it is 5"});
  expect_error<ShapeError>(
      [&] {
        rope(zeros({2, 2, 4, 4}), table, table);
      },
      {"cos and sin must be [2 or 1, 4, 2], not [1, 3, 2] and [1, 3, 2]"});
  expect_error<DTypeError>(
      [&] {
        rope(zeros({1, 2, 3, 4}), cast(table, DType::bf16), table);
      },
      {"cos and sin must be f32, not bf16"});
}

TEST(Swiglu, NeedsEqualShapes) {
  expect_error<ShapeError>(
      [] {
        swiglu(zeros({2, 3}), zeros({3}));
      },
      {"swiglu: gate and up must have one shape"});
}

}  // namespace
}  // namespace wick::test
