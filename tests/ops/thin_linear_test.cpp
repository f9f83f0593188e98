#include "ops/thin_linear.h"

#include <gtest/gtest.h>

#include <cmath>

#include "op_harness.h"
#include "wick/error.h"
#include "wick/ops.h"

namespace wick::test {
namespace {

constexpr double eps = 1e-3;

/// Row r of in[input].
std::span<const double> row_of(const Array& array, std::size_t r) {
  const auto n = static_cast<std::size_t>(array.shape.dim(-1));
  return std::span(array.values).subspan(r * n, n);
}

/// What is around the layers of one case.
struct Form {
  std::size_t layers = 1;
  bool bias = false;
  bool norm = false;
  bool gated = false;
  bool residual = false;
};

ThinLinear layers_of(std::span<const Tensor> in, const Form& form) {
  ThinLinear layers;
  auto next = in.begin();
  layers.x = *next++;
  for (std::size_t i = 0; i < form.layers; ++i) layers.weights.push_back(*next++);
  for (std::size_t i = 0; form.bias && i < form.layers; ++i) layers.biases.push_back(*next++);
  if (form.norm) {
    layers.norm = *next++;
    layers.eps = eps;
  }
  layers.gated = form.gated;
  if (form.residual) layers.residual = *next++;
  return layers;
}

Array reference(std::span<const Array> in, const Form& form) {
  const Array& x = in[0];
  const std::size_t biases = form.bias ? form.layers : 0;
  const auto depth = static_cast<std::size_t>(x.shape.dim(-1));
  const std::size_t rows = x.values.size() / depth;
  std::vector<double> results;
  for (std::size_t r = 0; r < rows; ++r) {
    std::vector<double> row(row_of(x, r).begin(), row_of(x, r).end());
    if (form.norm) {
      double squares = 0;
      for (double v : row) squares += v * v / static_cast<double>(depth);
      for (std::size_t k = 0; k < depth; ++k)
        row[k] *= in[1 + form.layers + biases].values[k] / std::sqrt(squares + eps);
    }
    std::vector<std::vector<double>> of_layers;
    for (std::size_t i = 0; i < form.layers; ++i) {
      std::vector<double>& out = of_layers.emplace_back();
      for (std::size_t o = 0; o < static_cast<std::size_t>(in[1 + i].shape[0]); ++o) {
        double sum = form.bias ? in[1 + form.layers + i].values[o] : 0;
        for (std::size_t k = 0; k < depth; ++k) sum += row[k] * row_of(in[1 + i], o)[k];
        out.push_back(sum);
      }
    }
    if (form.gated) {
      for (std::size_t o = 0; o < of_layers[0].size(); ++o) {
        const double gate = of_layers[0][o];
        results.push_back(gate / (1 + std::exp(-gate)) * of_layers[1][o]);
      }
    } else {
      for (const auto& out : of_layers) results.insert(results.end(), out.begin(), out.end());
    }
  }
  if (form.residual)
    for (std::size_t i = 0; i < results.size(); ++i) results[i] += in.back().values[i];
  const auto outputs = static_cast<std::int64_t>(results.size() / rows);
  return {x.shape.with(-1, outputs), results};
}

/// Terms are near 1, sums of them of any size: what is kept in 16 bits on the way is wrong by their rounding
/// relative to the terms, which the square root of their number makes larger.
Tolerance tolerance(DType dtype) {
  switch (dtype) {
    case DType::f64: return {1e-7, 1e-7};
    case DType::f32: return {1.3e-6, 4e-5};
    case DType::bf16: return {1.6e-2, 0.15};
    default: return {1e-3, 0.02};
  }
}

/// A gated layer that is decomposed is rounded five times: norm, layers, activation, product. Where one
/// factor is near 0, the other one, of up to 10 here, makes its error larger.
Tolerance gated_tolerance(DType dtype) {
  const Tolerance once = tolerance(dtype);
  return {2 * once.relative, 4 * once.absolute};
}

/// Shapes of the inputs: x, weights of `outputs`, and what the form says.
std::vector<Shape> shapes_of(const Form& form, const Shape& x, std::vector<std::int64_t> outputs) {
  std::vector<Shape> shapes{x};
  std::int64_t all = 0;
  for (std::int64_t out : outputs) shapes.push_back({out, x.dim(-1)});
  for (std::int64_t out : outputs) all += out;
  if (form.bias)
    for (std::int64_t out : outputs) shapes.push_back({out});
  if (form.norm) shapes.push_back({x.dim(-1)});
  if (form.residual) shapes.push_back(x.with(-1, form.gated ? outputs[0] : all));
  return shapes;
}

OpCase case_of(const std::string& name, const Form& form, std::vector<std::vector<Shape>> shapes) {
  OpCase c;
  c.name = name;
  c.inputs.assign(shapes[0].size(), {.draw = uniform(-1, 1)});
  c.shapes = std::move(shapes);
  c.op = [form](std::span<const Tensor> in) { return thin_linear(layers_of(in, form)); };
  c.reference = [form](std::span<const Array> in) { return reference(in, form); };
  c.tolerance = form.gated ? gated_tolerance : tolerance;
  return c;
}

const Form projections{.layers = 3, .bias = true, .norm = true};
const Form gate_and_up{.layers = 2, .norm = true, .gated = true};
const Form gate_and_up_with_bias{.layers = 2, .bias = true, .gated = true};
const Form down{.residual = true};
const Form head{.norm = true};

/// Depths of several steps of a kernel, for the dtypes that have one; in f32 the rounding of as many equal
/// terms adds up in views that broadcast.
OpCase deep(OpCase c) {
  c.name += "_deep";
  c.dtypes = {DType::f64, DType::bf16, DType::f16};
  return c;
}

const bool registered = register_op_cases(
    "ThinLinear",
    {case_of("projections", projections,
             {shapes_of(projections, {2, 5}, {3, 1, 2}), shapes_of(projections, {1, 1, 64}, {48, 16, 16}),
              shapes_of(projections, {33, 1, 72}, {40, 8, 9})}),
     deep(
         case_of("projections", projections,
                 {shapes_of(projections, {3, 264}, {70, 1, 65}), shapes_of(projections, {1, 2312}, {3, 1, 2}),
                  shapes_of(projections, {19, 288}, {90, 13, 30})})),
     case_of("gate_and_up", gate_and_up,
             {shapes_of(gate_and_up, {3, 5}, {2, 2}), shapes_of(gate_and_up, {2, 9, 40}, {67, 67}),
              shapes_of(gate_and_up, {65, 8}, {3, 3})}),
     deep(case_of(
         "gate_and_up", gate_and_up,
         {shapes_of(gate_and_up, {1, 296}, {37, 37}), shapes_of(gate_and_up, {2, 9, 136}, {67, 67})})),
     case_of("gate_and_up_with_bias", gate_and_up_with_bias,
             {shapes_of(gate_and_up_with_bias, {1, 16}, {5, 5}),
              shapes_of(gate_and_up_with_bias, {4, 16}, {33, 33})}),
     case_of(
         "down", down,
         {shapes_of(down, {1, 7}, {3}), shapes_of(down, {64, 1, 40}, {5}), shapes_of(down, {40, 24}, {130})}),
     deep(case_of("down", down,
                  {shapes_of(down, {1, 1, 2056}, {12}), shapes_of(down, {12, 1, 896}, {37}),
                   shapes_of(down, {7, 864}, {5}), shapes_of(down, {8, 1032}, {70}),
                   shapes_of(down, {64, 1, 136}, {5})})),
     deep(case_of("head", head, {shapes_of(head, {17, 32}, {17003})})),
     case_of("head", head, {shapes_of(head, {1, 40}, {4099}), shapes_of(head, {17, 40}, {257})})});

/// Next to f32 x, weights may be kept in 16 bits; enough of them for several threads.
TEST(ThinLinear, NarrowWeightsAreReadAsStored) {
  const auto draw = [](const Shape& shape, DType dtype) {
    return cast(random_uniform(random_key(shape.elements()), shape) - 0.5, dtype);
  };
  for (DType narrow : {DType::bf16, DType::f16}) {
    const Tensor x = draw({1, 300}, DType::f32);
    const Tensor gate = draw({501, 300}, narrow);
    const Tensor up = draw({501, 300}, narrow);
    const Tensor norm = draw({300}, narrow);
    const auto layers = [&](DType dtype) {
      return thin_linear({.x = cast(x, dtype),
                          .weights = {cast(gate, dtype), cast(up, dtype)},
                          .norm = cast(norm, dtype),
                          .eps = eps,
                          .gated = true});
    };
    const Tensor mixed =
        thin_linear({.x = x, .weights = {gate, up}, .norm = norm, .eps = eps, .gated = true});
    EXPECT_EQ(mixed.to_vector<float>(), layers(DType::f32).to_vector<float>());
    expect_close(mixed, read_tensor(layers(DType::f64)), tolerance(DType::f32), std::string(name_of(narrow)));
  }
}

TEST(ThinLinear, ErrorsNameTheShapes) {
  const Tensor x = zeros({2, 3});
  const Tensor w = zeros({4, 3});
  expect_error<ShapeError>(
      [&] {
        thin_linear({.x = x, .weights = {zeros({4, 5})}});
      },
      {"thin_linear: x has 3 features, the weight takes 5"});
  expect_error<ShapeError>(
      [&] {
        thin_linear({.x = x, .weights = {w, zeros({5, 3})}, .gated = true});
      },
      {"a gated layer takes two weights of one shape, gate and up"});
  expect_error<ShapeError>([&] { thin_linear({.x = x, .weights = {w}, .norm = zeros({4})}); },
                           {"the norm's weight must be [3], not [4]"});
  expect_error<ShapeError>(
      [&] {
        thin_linear({.x = x, .weights = {w}, .residual = zeros({2, 3})});
      },
      {"the residual must be like the result, f32[2, 4], not f32[2, 3]"});
}

}  // namespace
}  // namespace wick::test
