#include "optimize/recognize.h"

#include <algorithm>

#include "optimize/common_subexpressions.h"
#include "optimize/dead_nodes.h"
#include "optimize/pass_selection.h"
#include "optimize/recognize_patterns.h"
#include "optimize/simplify.h"

namespace wick {
namespace {

using Kind = Pattern::Body::Kind;

const std::vector<Rule>& patterns() {
  static const std::vector<Rule>& list = *[] {  // never destroyed: workers may outlive static objects
    auto* all = new std::vector<Rule>;
    for (std::vector<Rule> (*family)() :
         {&activation_patterns, &softmax_patterns, &norm_patterns, &linear_patterns, &lora_patterns,
          &attention_patterns, &cross_entropy_patterns})
      for (Rule& rule : family()) all->push_back(std::move(rule));
    return all;
  }();
  return list;
}

/// Whether nobody outside the match reads what it computes on the way. Views and casts may be read: they stay
/// where they are needed, and nothing is computed twice.
bool owns_what_it_computes(const Found& found, const std::vector<std::uint32_t>& uses) {
  std::vector<std::uint32_t> members;
  for (const Found::Binding& bound : found.bindings())
    if (bound.pattern->kind == Kind::op &&
        std::find(members.begin(), members.end(), bound.node) == members.end())
      members.push_back(bound.node);
  const std::vector<GraphNode>& nodes = found.graph().nodes;
  return std::all_of(members.begin() + 1, members.end(), [&](std::uint32_t member) {
    if (nodes[member].op->view || nodes[member].op->name == "cast") return true;
    std::uint32_t inside = 0;
    for (std::uint32_t reader : members)
      inside += static_cast<std::uint32_t>(
          std::count(nodes[reader].inputs.begin(), nodes[reader].inputs.end(), member));
    return inside == uses[member];
  });
}

bool occurs(const Graph& graph, std::string_view op) {
  return std::any_of(graph.nodes.begin(), graph.nodes.end(),
                     [&](const GraphNode& node) { return node.op && node.op->name == op; });
}

/// Replaces every match of one pattern; false when there is none.
bool replace_all(Graph& graph, const Rule& rule, const PassContext& context) {
  if (!occurs(graph, rule.pattern.body().name)) return false;
  const std::vector<std::uint32_t> uses = count_uses(graph);
  Rewriter out(graph);
  bool changed = false;
  for (std::uint32_t i = 0; i < graph.nodes.size(); ++i) {
    const std::optional<Found> found = find(graph, i, rule.pattern);
    if (found && owns_what_it_computes(*found, uses)) {
      const auto result =
          replace(out, *found, rule.replacement, [&](std::uint32_t node) { return out[node]; });
      changed = changed || result.has_value();
      out.map(i, result ? *result : out.append(out.mapped_copy(i)));
    } else {
      out.map(i, out.append(out.mapped_copy(i)));
    }
  }
  if (changed) graph = eliminate_dead_nodes(out.finish(), context);
  return changed;
}

}  // namespace

Graph recognize(const Graph& graph, const PassContext& context) {
  Graph current = eliminate_dead_nodes(graph, context);
  bool changed = false;
  for (const Rule& rule : patterns()) changed = replace_all(current, rule, context) || changed;
  if (!changed) return current;
  // What replacements recorded takes the form that all else has, so that a gradient's part of a composite,
  // which was recorded earlier, has the same operands as the composite.
  const std::uint64_t disabled = disabled_passes();
  if (!is_disabled(disabled, "simplify")) current = simplify(current, context);
  if (!is_disabled(disabled, "common-subexpressions"))
    current = eliminate_common_subexpressions(current, context);
  return current;
}

}  // namespace wick
