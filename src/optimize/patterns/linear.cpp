#include "ops/attributes.h"
#include "optimize/patterns/bias.h"
#include "optimize/recognize_patterns.h"
#include "wick/ops/linalg.h"

namespace wick {
namespace {

bool swaps_rows_and_columns(const GraphNode& permutation) {
  const auto order = permutation.attrs.as<PermuteAttrs>().order;
  return permutation.spec.shape.rank() == 2 && order[0] == 1;
}

/// The weight as it is stored, where a cast only widens it: `linear` reads it so.
Tensor stored_weight(const Found& f, const Pattern& weight) {
  const GraphNode& node = f.node(weight);
  if (node.op && node.op->name == "cast") {
    const DType stored = f.graph().nodes[node.inputs[0]].spec.dtype;
    if (is_floating(stored) && size_of(stored) < size_of(node.spec.dtype) &&
        f.graph().is_row_major(node.inputs[0]))
      return f.tensor(node.inputs[0]);
  }
  return f[weight];
}

/// Whether adding a bias is all that the root does to the product's shape.
bool only_adds(const Found& f, const Pattern& product, const Pattern& bias) {
  return f.root().spec.shape == f.node(product).spec.shape && is_bias(f.node(bias), f.node(product));
}

}  // namespace

std::vector<Rule> linear_patterns() {
  const Pattern x;
  const Pattern weight;
  const Pattern bias;
  const Pattern transposed = op("permute", weight);
  const Pattern product = op("linear", x, weight);
  const Pattern shaped = op("reshape", product);
  return {
      {"linear", op("matmul", x, transposed),
       [=](const Found& f) {
         const DType dtype = f.root().spec.dtype;
         const bool fits = is_floating(dtype) && dtype != DType::f64 && f.root().spec.shape.rank() == 2 &&
                           swaps_rows_and_columns(f.node(transposed)) && f.is_row_major(x) &&
                           f.is_row_major(weight);
         return fits ? linear(f[x], stored_weight(f, weight)) : Tensor{};
       }},
      {"linear with a bias", op("add", product, bias),
       [=](const Found& f) {
         return only_adds(f, product, bias) ? linear(f[x], f[weight], as_bias(f[bias])) : Tensor{};
       }},
      {"linear with a bias behind a reshape", op("add", shaped, bias),
       [=](const Found& f) {
         const bool fits = only_adds(f, shaped, bias) && is_bias(f.node(bias), f.node(product));
         return fits ? reshape(linear(f[x], f[weight], as_bias(f[bias])), f.root().spec.shape) : Tensor{};
       }},
  };
}

}  // namespace wick
