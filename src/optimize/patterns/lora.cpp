#include <algorithm>

#include "optimize/patterns/scaled.h"
#include "optimize/recognize_patterns.h"
#include "wick/ops/linalg.h"
#include "wick/ops/movement.h"

namespace wick {
namespace {

/// The product of something and a factor: [out, in], which `linear` reads, or [in, out].
struct Factor {
  explicit Factor(const Pattern& x)
      : product(either(op("linear", x, as_linear), op("matmul", x, as_matrix))) {}
  Tensor tensor(const Found& f) const { return f.has(as_linear) ? f[as_linear] : transpose(f[as_matrix]); }
  Pattern as_linear;
  Pattern as_matrix;
  Pattern product;
};

/// Everything that the ways to write an adapter have in common: s (x a^T) b^T, with the scale at any places,
/// or without one; perhaps of the rows of x [..., in] in one matrix.
struct Adapter {
  Pattern x;
  Scaled input{maybe_cast(x)};
  Pattern rows = either(op("reshape", input.whole), input.whole);
  Factor a{rows};
  Scaled down{a.product};
  Factor b{down.whole};
  Scaled up{b.product};
  /// In x's dtype, where the adapter has another.
  Scaled narrow{maybe_cast(up.whole)};
  Pattern delta = either(op("reshape", narrow.whole), narrow.whole);

  double scale(const Found& f) const {
    return input.scale(f) * down.scale(f) * up.scale(f) * narrow.scale(f);
  }
};

/// Whether the two factors are an adapter of a layer with this result: a narrow one, in one dtype.
bool is_adapter(const Found& f, const Adapter& adapter) {
  const Spec& x = f.node(adapter.x).spec;
  const Spec& result = f.root().spec;
  const Tensor a = adapter.a.tensor(f);
  const Tensor b = adapter.b.tensor(f);
  if (a.rank() != 2 || b.rank() != 2 || x.shape.rank() == 0 || result.shape.rank() != x.shape.rank())
    return false;
  return a.dtype() == b.dtype() && f.node(adapter.a.product).spec.dtype == a.dtype() &&
         x.dtype == result.dtype && a.dim(1) == x.shape.dim(-1) && b.dim(1) == a.dim(0) &&
         b.dim(0) == result.shape.dim(-1) && result.shape.without(-1) == x.shape.without(-1) &&
         a.dim(0) < std::min(a.dim(1), b.dim(0));
}

}  // namespace

std::vector<Rule> lora_patterns() {
  const Adapter adapter;
  const Pattern& x = adapter.x;
  const Pattern weight;
  const Pattern bias;
  const Pattern base = either(op("linear", x, weight), op("linear", x, weight, bias));
  return {
      {"lora_linear", op("add", base, adapter.delta),
       [=](const Found& f) {
         const Tensor added = f.has(bias) ? f[bias] : Tensor{};
         return is_adapter(f, adapter) ? lora_linear(f[x], f[weight], added, adapter.a.tensor(f),
                                                     adapter.b.tensor(f), adapter.scale(f))
                                       : Tensor{};
       }},
  };
}

}  // namespace wick
