#include "ops/norm_gradient.h"

#include <cmath>

#include "graph/record.h"
#include "ops/attributes.h"
#include "ops/op_harness.h"

// A norm's gradient and what is added to it, as the optimiser makes one step of them.
namespace wick::test {
namespace {

constexpr double eps = 1e-2;

/// scale (g w - [mean(g w)] - c scale mean(g w c scale)) + added, with c = x [- mean(x)] and
/// scale = 1 / sqrt(mean(c^2) + eps); inputs are x, g, added [..., d], [w [d]].
Array reference(std::span<const Array> in, bool centered) {
  Array result = in[2];
  const auto d = static_cast<std::size_t>(in[0].shape.dim(-1));
  const auto n = static_cast<double>(d);
  for (std::size_t first = 0; first < result.values.size(); first += d) {
    const auto inner = [&](std::size_t i) {
      return in[1].values[first + i] * (in.size() > 3 ? in[3].values[i] : 1);
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
      result.values[first + i] += scale * (inner(i) - mean_inner - c * scale * scale * products);
    }
  }
  return result;
}

OpCase op_case(const std::string& name, const Op& (*op)(), Reference reference, bool weighted) {
  const OpInput number{.draw = uniform(-2, 2)};
  std::vector<std::vector<Shape>> shapes;
  for (const Shape& x : {Shape{7}, Shape{1, 6}, Shape{0, 3}, Shape{3, 1}, Shape{3, 5}, Shape{2, 3, 8},
                         Shape{5, 67}, Shape{70, 64}, Shape{3, 1031}, Shape{2, 4096}}) {
    shapes.push_back({x, x, x});
    if (weighted) shapes.back().push_back({x.dim(-1)});
  }
  return {.name = name,
          .inputs = std::vector<OpInput>(weighted ? 4 : 3, number),
          .shapes = shapes,
          .op = [op](std::span<const Tensor> in) { return record(op(), in, NormAttrs{eps}, {}); },
          .reference = std::move(reference)};
}

const Reference rms = [](std::span<const Array> in) { return reference(in, false); };
const Reference layer = [](std::span<const Array> in) { return reference(in, true); };

const bool registered = register_op_cases(
    "NormGradientAdd", {op_case("rms_norm", rms_norm_gradient_add_op, rms, true),
                        op_case("plain_rms_norm", rms_norm_gradient_add_op, rms, false),
                        op_case("layer_norm", layer_norm_gradient_add_op, layer, true),
                        op_case("plain_layer_norm", layer_norm_gradient_add_op, layer, false)});

}  // namespace
}  // namespace wick::test
