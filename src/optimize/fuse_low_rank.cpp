#include "optimize/fuse_low_rank.h"

#include <algorithm>

#include "ops/attributes.h"
#include "optimize/pattern.h"
#include "wick/ops/linalg.h"

namespace wick {
namespace {

bool is_transposition(const Graph& graph, std::uint32_t node) {
  const GraphNode& n = graph.nodes[node];
  return n.op && n.op->name == "permute" && n.spec.shape.rank() == 2 &&
         n.attrs.as<PermuteAttrs>().order[0] == 1;
}

struct LowRank {
  Pattern x;
  Pattern a;
  Pattern b;
  Pattern scale = number();
  Pattern down = by(x, a);
  Pattern whole = either(op("mul", by(down, b), scale), by(op("mul", down, scale), b));

  /// x by a weight [out, in].
  static Pattern by(const Pattern& x, const Pattern& weight) {
    return either(op("linear", x, weight), op("matmul", x, op("permute", weight)));
  }
};

/// Whether what the match computes on the way is read by nobody else, and transposes where it permutes.
bool stands_alone(const Found& found, const std::vector<std::uint32_t>& uses) {
  const Graph& graph = found.graph();
  return std::all_of(found.bindings().begin() + 1, found.bindings().end(), [&](const Found::Binding& bound) {
    const bool computes = bound.pattern->kind == Pattern::Body::Kind::op;
    if (!computes || bound.node == found.bindings().front().node) return true;
    if (bound.pattern->name == "permute") return is_transposition(graph, bound.node);
    return uses[bound.node] == 1;
  });
}

/// The factor as it is kept, where it was narrowed for the product.
std::uint32_t kept(const Found& found, const Pattern& factor) {
  const GraphNode& node = found.node(factor);
  const bool narrowed = node.op && node.op->name == "cast" && node.spec.dtype == DType::bf16 &&
                        found.graph().nodes[node.inputs[0]].spec.dtype == DType::f32;
  return narrowed ? node.inputs[0] : found.position(factor);
}

Tensor replacement(const Found& found, const LowRank& pattern) {
  const GraphNode& a = found.node(pattern.a);
  const GraphNode& b = found.node(pattern.b);
  const DType dtype = found.root().spec.dtype;
  if (dtype != DType::f32 && dtype != DType::bf16) return {};
  if (found.node(pattern.x).spec.dtype != dtype || a.spec.dtype != dtype || b.spec.dtype != dtype) return {};
  if (a.spec.shape.rank() != 2 || b.spec.shape.rank() != 2) return {};
  // A thick product in the middle is none that a scale would be cheaper at.
  if (2 * a.spec.shape[0] > std::min(a.spec.shape[1], b.spec.shape[0])) return {};
  const Tensor kept_a = found.tensor(kept(found, pattern.a));
  const Tensor kept_b = found.tensor(kept(found, pattern.b));
  const bool both = kept_a.dtype() == kept_b.dtype();
  return low_rank(found[pattern.x], both ? kept_a : found[pattern.a], both ? kept_b : found[pattern.b],
                  found.value(pattern.scale));
}

}  // namespace

Graph fuse_low_rank(const Graph& graph, const PassContext&) {
  static const LowRank& pattern = *new LowRank;  // never destroyed: workers may outlive static objects
  const std::vector<std::uint32_t> uses = count_uses(graph);
  Rewriter out(graph);
  for (std::uint32_t i = 0; i < graph.nodes.size(); ++i) {
    const std::optional<Found> found = find(graph, i, pattern.whole);
    std::optional<std::uint32_t> fused;
    if (found && stands_alone(*found, uses))
      fused = replace(
          out, *found, [&](const Found& f) { return replacement(f, pattern); },
          [&](std::uint32_t node) { return out[node]; });
    out.map(i, fused ? *fused : out.append(out.mapped_copy(i)));
  }
  return out.finish();
}

}  // namespace wick
