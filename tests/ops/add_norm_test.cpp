#include <cmath>

#include "ops/op_harness.h"
#include "wick/ops.h"

// A norm of a sum, and the sum: evaluated lazily, both are made by one step.
namespace wick::test {
namespace {

constexpr double eps = 1e-3;

/// norm(x + y) + x + y; inputs are x, y [..., d], [weight [d], [bias [d]]].
Array reference(std::span<const Array> in, bool centered) {
  Array result = in[0];
  const auto d = static_cast<std::size_t>(in[0].shape.dim(-1));
  for (std::size_t first = 0; first < result.values.size(); first += d) {
    double mean = 0;
    double squares = 0;
    for (std::size_t i = 0; i < d; ++i) {
      result.values[first + i] += in[1].values[first + i];
      mean += centered ? result.values[first + i] / static_cast<double>(d) : 0;
    }
    for (std::size_t i = 0; i < d; ++i) {
      const double off = result.values[first + i] - mean;
      squares += off * off / static_cast<double>(d);
    }
    for (std::size_t i = 0; i < d; ++i) {
      double& h = result.values[first + i];
      double y = (h - mean) / std::sqrt(squares + eps);
      if (in.size() > 2) y *= in[2].values[i];
      if (in.size() > 3) y += in[3].values[i];
      h += y;
    }
  }
  return result;
}
Array rms_reference(std::span<const Array> in) { return reference(in, false); }
Array layer_reference(std::span<const Array> in) { return reference(in, true); }

std::vector<std::vector<Shape>> shapes(std::size_t parameters) {
  std::vector<std::vector<Shape>> all;
  for (const Shape& x : {Shape{7}, Shape{1, 6}, Shape{0, 3}, Shape{3, 5}, Shape{2, 3, 8}, Shape{5, 67},
                         Shape{70, 64}, Shape{3, 1031}, Shape{2, 4096}}) {
    all.push_back({x, x});
    for (std::size_t i = 0; i < parameters; ++i) all.back().push_back({x.dim(-1)});
  }
  return all;
}

/// 16-bit results are rounded before they are added, and may cancel.
Tolerance tolerance(DType dtype) {
  if (dtype == DType::bf16) return {1.6e-2, 4e-2};
  if (dtype == DType::f16) return {2e-3, 6e-3};
  return tolerance_of(dtype);
}

const OpInput number{.draw = uniform(-2, 2)};

const bool registered = register_op_cases("AddNorm", {{.name = "rms_norm",
                                                       .inputs = {number, number, number},
                                                       .shapes = shapes(1),
                                                       .op =
                                                           [](std::span<const Tensor> in) {
                                                             const Tensor h = in[0] + in[1];
                                                             return rms_norm(h, in[2], eps) + h;
                                                           },
                                                       .reference = rms_reference,
                                                       .tolerance = tolerance},
                                                      {.name = "layer_norm",
                                                       .inputs = {number, number, number, number},
                                                       .shapes = shapes(2),
                                                       .op =
                                                           [](std::span<const Tensor> in) {
                                                             const Tensor h = in[0] + in[1];
                                                             return layer_norm(h, in[2], in[3], eps) + h;
                                                           },
                                                       .reference = layer_reference,
                                                       .tolerance = tolerance},
                                                      {.name = "plain_rms_norm",
                                                       .inputs = {number, number},
                                                       .shapes = shapes(0),
                                                       .op =
                                                           [](std::span<const Tensor> in) {
                                                             const Tensor h = in[0] + in[1];
                                                             return rms_norm(h, {}, eps) + h;
                                                           },
                                                       .reference = rms_reference,
                                                       .tolerance = tolerance}});

}  // namespace
}  // namespace wick::test
