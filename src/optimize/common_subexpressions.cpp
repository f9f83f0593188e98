#include "optimize/common_subexpressions.h"

#include <unordered_map>

namespace wick {
namespace {

std::uint64_t mix(std::uint64_t hash, std::uint64_t value) {
  hash ^= value + 0x9E3779B97F4A7C15u + (hash << 6) + (hash >> 2);
  return hash * 0xBF58476D1CE4E5B9u;
}

std::uint64_t hash_of(const GraphNode& node) {
  std::uint64_t hash = mix(0, reinterpret_cast<std::uintptr_t>(node.op));
  for (std::uint32_t i : node.inputs) hash = mix(hash, i);
  for (std::byte b : node.attrs.bytes()) hash = mix(hash, static_cast<std::uint64_t>(b));
  return hash;
}

bool same(const GraphNode& a, const GraphNode& b) {
  return a.op == b.op && a.attrs == b.attrs && a.inputs.size() == b.inputs.size() &&
         std::equal(a.inputs.begin(), a.inputs.end(), b.inputs.begin());
}

}  // namespace

Graph eliminate_common_subexpressions(const Graph& graph, const PassContext&) {
  Rewriter out(graph);
  std::unordered_multimap<std::uint64_t, std::uint32_t> seen;
  seen.reserve(graph.nodes.size());
  for (std::uint32_t i = 0; i < graph.nodes.size(); ++i) {
    GraphNode node = out.mapped_copy(i);
    if (!node.op) {
      out.map(i, out.append(std::move(node)));
      continue;
    }
    const std::uint64_t hash = hash_of(node);
    const auto [begin, end] = seen.equal_range(hash);
    auto hit = begin;
    while (hit != end && !same(out.result().nodes[hit->second], node)) ++hit;
    if (hit != end) {
      out.map(i, hit->second);
    } else {
      const std::uint32_t position = out.append(std::move(node));
      seen.emplace(hash, position);
      out.map(i, position);
    }
  }
  return out.finish();
}

}  // namespace wick
