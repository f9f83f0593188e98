#include <algorithm>

#include "optimize/recognize_patterns.h"
#include "wick/ops/linalg.h"
#include "wick/ops/movement.h"

namespace wick {
namespace {

/// Everything that the ways to write an adapter have in common.
struct Adapter {
  Pattern x;
  Pattern a;
  Pattern b;
  Pattern scale = number();
  Pattern down = op("linear", maybe_cast(x), a);
  /// scale (x a^T) b^T, with the scale at any place, or without one.
  Pattern up = either(op("mul", op("linear", down, b), scale),
                      either(op("linear", op("mul", down, scale), b), op("linear", down, b)));
  /// In x's dtype, where the adapter has another.
  Pattern delta = maybe_cast(up);
};

/// Whether the two factors are an adapter of this weight: a narrow one, in one dtype.
bool is_adapter(const Found& f, const Adapter& adapter, const Pattern& x, const Pattern& weight) {
  const GraphNode& a = f.node(adapter.a);
  const GraphNode& b = f.node(adapter.b);
  const Shape& w = f.node(weight).spec.shape;
  return a.spec.dtype == b.spec.dtype && f.node(adapter.down).spec.dtype == a.spec.dtype &&
         f.node(x).spec.dtype == f.root().spec.dtype && a.spec.shape[0] < std::min(w[0], w[1]) &&
         b.spec.shape[0] == w[0];
}

}  // namespace

std::vector<Rule> lora_patterns() {
  const Adapter adapter;
  const Pattern& x = adapter.x;
  const Pattern weight;
  const Pattern bias;
  const auto scale = [=](const Found& f) { return f.has(adapter.scale) ? f.value(adapter.scale) : 1.0; };
  return {
      {"lora_linear", op("add", op("linear", x, weight), adapter.delta),
       [=](const Found& f) {
         const bool fits = is_adapter(f, adapter, x, weight);
         return fits ? lora_linear(f[x], f[weight], {}, f[adapter.a], f[adapter.b], scale(f)) : Tensor{};
       }},
      {"lora_linear with a bias", op("add", op("linear", x, weight, bias), adapter.delta),
       [=](const Found& f) {
         const bool fits = is_adapter(f, adapter, x, weight);
         return fits ? lora_linear(f[x], f[weight], f[bias], f[adapter.a], f[adapter.b], scale(f)) : Tensor{};
       }},
  };
}

}  // namespace wick
