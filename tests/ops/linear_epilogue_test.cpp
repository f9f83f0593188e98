#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "ops/op_harness.h"
#include "wick/ops.h"

// A product and what follows it at once: evaluated lazily, these are one step where the backend has one.
namespace wick::test {
namespace {

double relu_of(double v) { return std::max(v, 0.0); }
double silu_of(double v) { return v / (1 + std::exp(-v)); }
double gelu_of(double v) { return v * 0.5 * (1 + std::erf(v / std::numbers::sqrt2)); }
double gelu_tanh_of(double v) {
  return 0.5 * v * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (v + 0.044715 * v * v * v)));
}
double itself(double v) { return v; }

/// activation(x weight^T + bias) + residual; inputs are x [m, k], weight [n, k], bias [n], residual [m, n].
Reference reference(double (*activation)(double), bool has_residual) {
  return [=](std::span<const Array> in) {
    const auto k = static_cast<std::size_t>(in[0].shape[1]);
    const auto n = static_cast<std::size_t>(in[1].shape[0]);
    Array y{Shape{in[0].shape[0], in[1].shape[0]}, {}};
    for (std::size_t i = 0; i < static_cast<std::size_t>(in[0].shape[0]); ++i)
      for (std::size_t j = 0; j < n; ++j) {
        double sum = in[2].values[j];
        for (std::size_t p = 0; p < k; ++p) sum += in[0].values[i * k + p] * in[1].values[j * k + p];
        y.values.push_back(activation(sum) + (has_residual ? in[3].values[i * n + j] : 0));
      }
    return y;
  };
}

/// [m, k] by [n, k]; from 65 rows on a GPU takes part.
std::vector<std::vector<Shape>> shapes(bool has_residual) {
  std::vector<std::vector<Shape>> all;
  for (const auto& [m, n, k] : std::vector<std::array<std::int64_t, 3>>{{1, 4, 3},
                                                                        {3, 5, 7},
                                                                        {0, 4, 2},
                                                                        {3, 4, 0},
                                                                        {17, 31, 8},
                                                                        {64, 16, 24},
                                                                        {67, 40, 16},
                                                                        {96, 33, 8},
                                                                        {130, 8, 64}}) {
    all.push_back({{m, k}, {n, k}, {n}});
    if (has_residual) all.back().push_back({m, n});
  }
  return all;
}

/// Op by op, 16-bit results up to 10 are rounded before they cancel against the residual.
Tolerance tolerance(DType dtype) {
  if (dtype == DType::bf16) return {1.6e-2, 5e-2};
  if (dtype == DType::f16) return {1e-3, 8e-3};
  return tolerance_of(dtype);
}

OpCase case_of(std::string name, Tensor (*activation)(const Tensor&), double (*expected)(double),
               bool has_residual) {
  const OpInput number{.draw = uniform(-1, 1)};
  return {.name = std::move(name),
          .inputs = std::vector<OpInput>(has_residual ? 4 : 3, number),
          .shapes = shapes(has_residual),
          .op =
              [=](std::span<const Tensor> in) {
                const Tensor y = activation(linear(in[0], in[1], in[2]));
                return has_residual ? y + in[3] : y;
              },
          .reference = reference(expected, has_residual),
          .tolerance = tolerance};
}

const bool registered = register_op_cases(
    "LinearEpilogue",
    {case_of(
         "relu", [](const Tensor& x) { return relu(x); }, relu_of, false),
     case_of(
         "silu", [](const Tensor& x) { return silu(x); }, silu_of, false),
     case_of(
         "gelu", [](const Tensor& x) { return gelu(x); }, gelu_of, false),
     case_of(
         "gelu_tanh", [](const Tensor& x) { return gelu_tanh(x); }, gelu_tanh_of, false),
     case_of(
         "residual", [](const Tensor& x) { return x; }, itself, true),
     case_of(
         "silu_residual", [](const Tensor& x) { return silu(x); }, silu_of, true),
     case_of(
         "relu_residual", [](const Tensor& x) { return relu(x); }, relu_of, true),
     case_of(
         "gelu_tanh_residual", [](const Tensor& x) { return gelu_tanh(x); }, gelu_tanh_of, true),
     case_of(
         "gelu_residual", [](const Tensor& x) { return gelu(x); }, gelu_of, true)});

TEST(LinearEpilogueOps, NaNStaysNaN) {
  Array x{Shape{80, 16}, std::vector<double>(80 * 16, -1)};
  x.values[3] = std::nan("");
  const Array weight{Shape{8, 16}, std::vector<double>(8 * 16, 0.5)};
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (Tensor (*activation)(const Operand&) :
         {+[](const Operand& v) { return relu(v); }, +[](const Operand& v) { return gelu_tanh(v); },
          +[](const Operand& v) { return silu(v); }}) {
      const Array y = read_tensor(activation(linear(make_tensor(x, dtype), make_tensor(weight, dtype))));
      for (std::size_t i = 0; i < 8; ++i) EXPECT_TRUE(std::isnan(y.values[i])) << name_of(dtype);
      for (std::size_t i = 8; i < y.values.size(); ++i) ASSERT_FALSE(std::isnan(y.values[i]));
    }
  }
}

}  // namespace
}  // namespace wick::test
