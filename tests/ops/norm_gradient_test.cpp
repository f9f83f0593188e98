#include "ops/norm_gradient.h"

#include <cmath>

#include "graph/node.h"
#include "graph/record.h"
#include "ops/op_harness.h"
#include "wick/grad.h"
#include "wick/ops.h"

// The gradients of norms as the optimiser makes them: of a sum of gradients, added to another.
namespace wick::test {
namespace {

constexpr double eps =
    0.1;  // rows of equal numbers are scaled by 1 / sqrt(eps), and so is what rounding left

/// scale (g w - [mean(g w)] - c scale mean(g w c scale)) + added, with c = x [- mean(x)] and
/// scale = 1 / sqrt(mean(c^2) + eps), g a sum; inputs are x, the gradients, added [..., d], [w [d]].
Array reference(std::span<const Array> in, bool centered, std::size_t gradients, bool adds) {
  const std::size_t terms = 1 + gradients + (adds ? 1 : 0);
  Array result = in[0];
  const auto d = static_cast<std::size_t>(in[0].shape.dim(-1));
  const auto n = static_cast<double>(d);
  for (std::size_t first = 0; first < result.values.size(); first += d) {
    const auto inner = [&](std::size_t i) {
      double sum = 0;
      for (std::size_t k = 1; k <= gradients; ++k) sum += in[k].values[first + i];
      return sum * (in.size() > terms ? in[terms].values[i] : 1);
    };
    double mean = 0;
    double mean_inner = 0;
    for (std::size_t i = 0; i < d && centered; ++i) {
      mean += in[0].values[first + i] / n;
      mean_inner += inner(i) / n;
    }
    double squares = 0;
    double products = 0;
    for (std::size_t i = 0; i < d; ++i) {
      const double c = in[0].values[first + i] - mean;
      squares += c * c / n;
      products += inner(i) * c / n;
    }
    const double scale = 1 / std::sqrt(squares + eps);
    for (std::size_t i = 0; i < d; ++i) {
      const double c = in[0].values[first + i] - mean;
      const double gradient = scale * (inner(i) - mean_inner - c * scale * scale * products);
      result.values[first + i] = gradient + (adds ? in[terms - 1].values[first + i] : 0);
    }
  }
  return result;
}

/// The op that the gradient of a norm is recorded as.
const Op& gradient_op(bool centered) {
  const Tensor x = ones({2, 2});
  const Tensor y = centered ? layer_norm(x, {}, {}, eps) : rms_norm(x, {}, eps);
  return *grad(sum(y * ones({2, 2})), {x})[0].node()->op();
}

OpCase op_case(bool centered, std::size_t gradients, bool adds, bool weighted) {
  const OpInput number{.draw = uniform(-2, 2)};
  const NormGradientAttrs attrs{eps, static_cast<std::int64_t>(gradients), adds ? 1 : 0};
  std::vector<std::vector<Shape>> shapes;
  for (const Shape& x : {Shape{7}, Shape{1, 6}, Shape{0, 3}, Shape{3, 1}, Shape{3, 5}, Shape{2, 3, 8},
                         Shape{5, 67}, Shape{70, 64}, Shape{3, 1031}, Shape{2, 4096}}) {
    shapes.emplace_back(attrs.terms(), x);
    if (weighted) shapes.back().push_back({x.dim(-1)});
  }
  return {.name = std::string(centered ? "layer_norm_of_" : "rms_norm_of_") + std::to_string(gradients) +
                  (adds ? "_added" : "") + (weighted ? "_weighted" : ""),
          .inputs = std::vector<OpInput>(attrs.terms() + (weighted ? 1 : 0), number),
          .shapes = shapes,
          .op = [=](std::span<const Tensor> in) { return record(gradient_op(centered), in, attrs, {}); },
          .reference = [=](std::span<const Array> in) { return reference(in, centered, gradients, adds); }};
}

std::vector<OpCase> cases() {
  std::vector<OpCase> all;
  for (bool centered : {false, true}) {
    all.push_back(op_case(centered, 1, false, true));
    all.push_back(op_case(centered, 1, true, false));
    all.push_back(op_case(centered, 1, true, true));
    all.push_back(op_case(centered, 2, false, false));
    all.push_back(op_case(centered, 2, true, true));
    all.push_back(op_case(centered, 3, true, true));
  }
  return all;
}

const bool registered = register_op_cases("NormGradient", cases());

}  // namespace
}  // namespace wick::test
