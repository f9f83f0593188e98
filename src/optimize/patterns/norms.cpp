#include "ops/attributes.h"
#include "optimize/patterns/reductions.h"
#include "optimize/recognize_patterns.h"
#include "wick/ops/movement.h"
#include "wick/ops/nn.h"

namespace wick {
namespace {

/// Whether `p` is one number a feature of x [..., d], and floating.
bool is_per_feature(const GraphNode& p, const Shape& x) {
  return p.spec.shape.rank() >= 1 && p.spec.shape.elements() == p.spec.shape.dim(-1) &&
         p.spec.shape.dim(-1) == x.dim(-1) && is_floating(p.spec.dtype);
}

/// A parameter [d], or an empty tensor where a pattern found something else.
Tensor parameter(const Found& f, const Pattern& p, const Pattern& norm) {
  const Shape& shape = f.node(norm).spec.shape;
  if (!is_per_feature(f.node(p), shape) || !(f.root().spec.shape == shape)) return {};
  return reshape(f[p], Shape{shape.dim(-1)});
}

double eps_of(const Found& f, const Pattern& norm) { return f.node(norm).attrs.as<NormAttrs>().eps; }

bool is_last_axis(int axis, const Found& f) { return axis == f.root().spec.shape.rank() - 1; }

/// x / sqrt(variance + eps) in the ways to write it, where x may come with a weight.
struct Normalized {
  explicit Normalized(const MeanPattern& mean) : variance(mean) {}
  MeanPattern variance;
  Pattern eps = number();
  Pattern sum = either(op("add", variance.value(), eps), variance.value());
  KeptPattern root{either(op("sqrt", sum), op("pow", sum, number(0.5)))};
  KeptPattern inverse{either(op("rsqrt", sum), op("pow", sum, number(-0.5)))};

  std::vector<Pattern> of(const Pattern& x) const {
    return {op("mul", x, inverse.whole), op("div", x, root.whole)};
  }
  /// Of a match along the last axis.
  std::optional<double> eps_of(const Found& f) const {
    const double value = f.has(eps) ? f.value(eps) : 0;
    const int axis = variance.axis(f, f.has(inverse.whole) ? inverse : root);
    return is_last_axis(axis, f) && value >= 0 ? std::optional(value) : std::nullopt;
  }
};

}  // namespace

std::vector<Rule> norm_patterns() {
  const Pattern x;
  const Pattern weight;
  const Pattern bias;
  const MeanPattern mean(x);
  const Pattern centered = op("sub", x, mean.whole());
  const Normalized rms{MeanPattern(op("square", x))};
  const Normalized layer{MeanPattern(op("square", centered))};
  const Pattern plain_rms = op("rms_norm", x);
  const Pattern rms_of_wide = op("rms_norm", op("cast", x));
  const Pattern plain_layer = op("layer_norm", x);
  const Pattern scaled_layer = op("layer_norm", x, weight);

  std::vector<Rule> rules;  // layer_norm first: it is the rms_norm of what is centered
  const auto is_centered = [=](const Found& f) { return is_last_axis(mean.axis(f), f); };
  for (const Pattern& root : layer.of(centered))
    rules.push_back({"layer_norm", root, [=](const Found& f) {
                       const std::optional<double> eps = layer.eps_of(f);
                       return eps && is_centered(f) ? layer_norm(f[x], {}, {}, *eps) : Tensor{};
                     }});
  for (const Pattern& root : layer.of(op("mul", centered, weight)))
    rules.push_back({"layer_norm, weighted early", root, [=](const Found& f) {
                       const std::optional<double> eps = layer.eps_of(f);
                       const Tensor w = eps && is_centered(f) ? parameter(f, weight, x) : Tensor{};
                       return w.defined() ? layer_norm(f[x], w, {}, *eps) : Tensor{};
                     }});
  for (const Pattern& root : rms.of(x))
    rules.push_back({"rms_norm", root, [=](const Found& f) {
                       const std::optional<double> eps = rms.eps_of(f);
                       return eps ? rms_norm(f[x], {}, *eps) : Tensor{};
                     }});
  for (const Pattern& root : rms.of(op("mul", x, weight)))
    rules.push_back({"rms_norm, weighted early", root, [=](const Found& f) {
                       const std::optional<double> eps = rms.eps_of(f);
                       const Tensor w = eps ? parameter(f, weight, x) : Tensor{};
                       return w.defined() ? rms_norm(f[x], w, *eps) : Tensor{};
                     }});
  rules.push_back({"rms_norm of a 16-bit float", op("cast", rms_of_wide), [=](const Found& f) {
                     const bool narrow = size_of(f[x].dtype()) == 2 && f[x].dtype() == f.root().spec.dtype &&
                                         f.node(rms_of_wide).spec.dtype == DType::f32;
                     return narrow ? rms_norm(f[x], {}, eps_of(f, rms_of_wide)) : Tensor{};
                   }});
  rules.push_back({"rms_norm with a weight", op("mul", plain_rms, weight), [=](const Found& f) {
                     const Tensor w = parameter(f, weight, plain_rms);
                     return w.defined() ? rms_norm(f[x], w, eps_of(f, plain_rms)) : Tensor{};
                   }});
  rules.push_back({"layer_norm with a weight", op("mul", plain_layer, weight), [=](const Found& f) {
                     const Tensor w = parameter(f, weight, plain_layer);
                     return w.defined() ? layer_norm(f[x], w, {}, eps_of(f, plain_layer)) : Tensor{};
                   }});
  rules.push_back({"layer_norm with weight and bias", op("add", scaled_layer, bias), [=](const Found& f) {
                     const Tensor b = parameter(f, bias, scaled_layer);
                     return b.defined() ? layer_norm(f[x], f[weight], b, eps_of(f, scaled_layer)) : Tensor{};
                   }});
  return rules;
}

}  // namespace wick
