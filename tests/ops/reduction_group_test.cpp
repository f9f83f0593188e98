#include <algorithm>
#include <cmath>

#include "ops/op_harness.h"
#include "wick/ops.h"

// Reductions of elementwise expressions: evaluated lazily, elements are made by the reduction.
namespace wick::test {
namespace {

/// Reduces what `f` makes of x and y, which have one shape, over the axes whose bits are set.
Reference reference(double (*f)(double, double), unsigned axes, double start,
                    double (*combine)(double, double)) {
  return [=](std::span<const Array> in) {
    const Shape& shape = in[0].shape;
    std::vector<std::int64_t> dims;
    for (int d = 0; d < shape.rank(); ++d)
      if ((axes >> d & 1u) == 0) dims.push_back(shape[d]);
    Array result{Shape(std::span<const std::int64_t>(dims)), {}};
    result.values.assign(static_cast<std::size_t>(result.shape.elements()), start);
    for (std::size_t i = 0; i < in[0].values.size(); ++i) {
      std::int64_t rest = static_cast<std::int64_t>(i);
      std::int64_t to = 0;
      std::int64_t step = 1;
      for (int d = shape.rank(); d-- > 0; rest /= shape[d]) {
        if ((axes >> d & 1u) != 0) continue;
        to += rest % shape[d] * step;
        step *= shape[d];
      }
      double& total = result.values[static_cast<std::size_t>(to)];
      total = combine(total, f(in[0].values[i], in[1].values[i]));
    }
    return result;
  };
}

double squared_distance(double x, double y) { return (x - y) * (x - y); }
double product(double x, double y) { return x * y; }
double larger_magnitude(double x, double y) { return std::max(std::abs(x), std::abs(y)); }
double sum_of(double a, double b) { return a + b; }
double max_of(double a, double b) { return std::max(a, b); }

std::vector<std::vector<Shape>> shapes(bool with_empty) {
  std::vector<std::vector<Shape>> all;
  for (const Shape& x : {Shape{3, 5}, Shape{1, 7}, Shape{9, 1}, Shape{5, 131}, Shape{129, 6}, Shape{300, 257},
                         Shape{2, 4099}, Shape{1030, 160}})
    all.push_back({x, x});
  if (with_empty) all.insert(all.end(), {{{0, 3}, {0, 3}}, {{3, 0}, {3, 0}}});
  return all;
}

/// 16-bit elements may cancel after they were rounded one by one.
Tolerance tolerance(DType dtype) {
  if (dtype == DType::bf16) return {2e-2, 0.5};
  if (dtype == DType::f16) return {2e-3, 6e-2};
  // Up to 165,000 products of numbers up to 4 that cancel, each rounded.
  if (dtype == DType::f32) return {1.3e-6, 1e-4};
  return tolerance_of(dtype);
}

OpCase case_of(std::string name, OpFunction op, Reference expected, bool with_empty = true) {
  const OpInput number{.draw = uniform(-2, 2)};
  return {.name = std::move(name),
          .inputs = {number, number},
          .shapes = shapes(with_empty),
          .op = std::move(op),
          .reference = std::move(expected),
          .tolerance = tolerance};
}

const bool registered = register_op_cases(
    "ReductionGroup",
    {case_of(
         "squared_distance", [](std::span<const Tensor> in) { return sum(square(in[0] - in[1])); },
         reference(squared_distance, 3, 0, sum_of)),
     case_of(
         "products_of_rows", [](std::span<const Tensor> in) { return sum(in[0] * in[1], {-1}); },
         reference(product, 2, 0, sum_of)),
     case_of(
         "products_of_columns", [](std::span<const Tensor> in) { return sum(in[0] * in[1], {0}); },
         reference(product, 1, 0, sum_of)),
     case_of(
         "largest_of_columns",
         [](std::span<const Tensor> in) { return max(maximum(abs(in[0]), abs(in[1])), {0}); },
         reference(larger_magnitude, 1, 0, max_of), false),
     case_of(
         "largest_of_rows",
         [](std::span<const Tensor> in) { return max(maximum(abs(in[0]), abs(in[1])), {1}); },
         reference(larger_magnitude, 2, 0, max_of), false)});

}  // namespace
}  // namespace wick::test
