#include <algorithm>

#include "ops/attributes.h"
#include "ops/lora_parts.h"
#include "optimize/patterns/bias.h"
#include "optimize/patterns/scaled.h"
#include "optimize/recognize_patterns.h"
#include "wick/ops/movement.h"

namespace wick {
namespace {

/// The product of something and a factor: [out, in], which `linear` reads, or [in, out].
struct Factor {
  explicit Factor(const Pattern& x)
      : product(either(op("linear", x, as_linear), op("matmul", x, as_matrix))) {}
  /// As [out, in], or as [in, out] when `transposed`.
  Tensor tensor(const Found& f, bool transposed) const {
    const Tensor stored = f.has(as_linear) ? f[as_linear] : f[as_matrix];
    return transposed == f.has(as_matrix) ? stored : transpose(stored);
  }
  bool is_matrix(const Found& f) const {
    return (f.has(as_linear) ? f[as_linear] : f[as_matrix]).rank() == 2;
  }
  Pattern as_linear;
  Pattern as_matrix;
  Pattern product;
};

/// Everything that the ways to write an adapter have in common: s (x a^T) b^T, with the scale at any places,
/// or without one; perhaps of the rows of x [..., in] in one matrix.
struct Adapter {
  Pattern x;
  Scaled input{maybe_cast(x)};
  Pattern rows = maybe_reshaped(input.whole);
  Factor a{rows};
  Scaled down{a.product};
  Factor b{down.whole};
  Scaled up{b.product};
  /// In x's dtype, where the adapter has another.
  Scaled narrow{maybe_cast(up.whole)};
  Pattern delta = maybe_reshaped(narrow.whole);

  double scale(const Found& f) const {
    return input.scale(f) * down.scale(f) * up.scale(f) * narrow.scale(f);
  }
};

/// x by a weight [out, in], which `linear` reads, or [in, out], and a bias.
struct Base {
  explicit Base(const Pattern& x)
      : by_matrix(op("matmul", x, matrix)),
        shaped(maybe_reshaped(by_matrix)),
        by_linear(maybe_reshaped(either(op("linear", x, weight), op("linear", x, weight, bias)))),
        whole(either(by_linear, either(op("add", shaped, bias), shaped))) {}

  bool is_transposed(const Found& f) const { return f.has(matrix); }
  const Pattern& stored(const Found& f) const { return is_transposed(f) ? matrix : weight; }
  std::int64_t features(const Found& f) const { return f[stored(f)].dim(is_transposed(f) ? 1 : 0); }
  Tensor added(const Found& f) const { return f.has(bias) ? as_bias(f[bias]) : Tensor{}; }

  /// A matrix that would have to be copied first stays with `matmul`, which reads it as it lies.
  bool fits(const Found& f, const Pattern& x) const {
    if (!is_transposed(f)) return true;
    return f.is_row_major(x) && f.is_row_major(matrix) && f[matrix].rank() == 2 &&
           (!f.has(bias) || is_bias(f.node(bias), f.node(by_matrix)));
  }

  Pattern weight;
  Pattern matrix;
  Pattern bias;
  Pattern by_matrix;
  Pattern shaped;
  Pattern by_linear;
  Pattern whole;
};

/// Whether the two factors are an adapter of a layer of so many features: a narrow one, in one dtype.
bool is_adapter(const Found& f, const Adapter& adapter, std::int64_t features) {
  const Spec& x = f.node(adapter.x).spec;
  const Spec& result = f.root().spec;
  if (!adapter.a.is_matrix(f) || !adapter.b.is_matrix(f) || x.shape.rank() == 0 || result.shape.rank() == 0)
    return false;
  const Tensor a = adapter.a.tensor(f, false);
  const Tensor b = adapter.b.tensor(f, false);
  return a.dtype() == b.dtype() && f.node(adapter.a.product).spec.dtype == a.dtype() &&
         x.dtype == result.dtype && a.dim(1) == x.shape.dim(-1) && b.dim(1) == a.dim(0) &&
         b.dim(0) == features && result.shape.dim(-1) == features &&
         result.shape.without(-1).elements() == x.shape.without(-1).elements() &&
         a.dim(0) < std::min(a.dim(1), b.dim(0));
}

}  // namespace

std::vector<Rule> lora_patterns() {
  const Adapter adapter;
  const Pattern& x = adapter.x;
  const Base base(x);
  const Pattern weight;
  const Pattern a;
  const Pattern b;
  const Pattern bias;
  const Pattern layer = op("lora_linear", x, weight, a, b);
  return {
      {"lora_linear", op("add", base.whole, adapter.delta),
       [=](const Found& f) {
         if (!base.fits(f, adapter.x) || !is_adapter(f, adapter, base.features(f))) return Tensor{};
         const bool transposed = base.is_transposed(f);
         const Tensor y = record_lora_linear(f[adapter.x], f[base.stored(f)], base.added(f),
                                             adapter.a.tensor(f, transposed), adapter.b.tensor(f, transposed),
                                             adapter.scale(f), transposed);
         return reshape(y, f.root().spec.shape);
       }},
      {"lora_linear, bias behind it", op("add", maybe_reshaped(layer), bias),
       [=](const Found& f) {
         const GraphNode& product = f.node(layer);
         const Shape& shape = f.root().spec.shape;
         const bool only_adds =
             shape.elements() == product.spec.shape.elements() && shape.dim(-1) == product.spec.shape.dim(-1);
         if (!only_adds || !is_bias(f.node(bias), product)) return Tensor{};
         const auto attrs = product.attrs.as<LoraAttrs>();
         const Tensor y = record_lora_linear(f[x], f[weight], as_bias(f[bias]), f[a], f[b], attrs.scale,
                                             attrs.transposed != 0);
         return reshape(y, shape);
       }},
  };
}

}  // namespace wick
