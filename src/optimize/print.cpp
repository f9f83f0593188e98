#include "optimize/print.h"

#include <fmt/format.h>

#include <map>
#include <string_view>

namespace wick {
namespace {

std::string spec_text(const Spec& spec) { return fmt::format("{}{}", name_of(spec.dtype), spec.shape.str()); }

/// A node as text, with its inputs as `input` writes them.
template <typename F>
std::string node_text(const GraphNode& node, F input) {
  if (!node.op) return fmt::format("leaf {} : {}", node.leaf, spec_text(node.spec));
  std::string arguments;
  const auto add = [&](const std::string& text) {
    if (!text.empty()) arguments += (arguments.empty() ? "" : ", ") + text;
  };
  for (std::uint32_t i : node.inputs) add(input(i));
  if (node.group) add(print(*node.group));
  if (node.op == &elementwise_batch_op())
    add(fmt::format("{} members", node.group->members(node.inputs.size())));
  if (node.op->describe) add(node.op->describe(node.attrs));
  return fmt::format("{}({}) : {}", node.op->name, arguments, spec_text(node.spec));
}

std::string numbered_line(const Graph& graph, std::size_t i) {
  return fmt::format("%{} = {}", i,
                     node_text(graph.nodes[i], [](std::uint32_t p) { return fmt::format("%{}", p); }));
}

/// What makes a node the same one under another number.
std::string signature(const Graph& graph, const GraphNode& node) {
  return node_text(node, [&](std::uint32_t p) { return spec_text(graph.nodes[p].spec); });
}

/// Appends the lines of nodes in `graph` that occur more often than `balance` allows.
void append_surplus(std::string& text, const Graph& graph, std::map<std::string, std::ptrdiff_t>& balance,
                    char sign) {
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    std::ptrdiff_t& surplus = balance[signature(graph, graph.nodes[i])];
    if (surplus <= 0) continue;
    --surplus;
    text += fmt::format("{} {}\n", sign, numbered_line(graph, i));
  }
}

}  // namespace

std::string print(const ElementwiseGroup& group) {
  std::string text;
  for (const ElementwiseGroup::Instruction& part : group.instructions) {
    text += fmt::format("{}{}", text.empty() ? "" : "; ", part.op->name);
    if (part.op->describe) text += fmt::format("({})", part.op->describe(part.attrs));
    for (std::uint32_t operand : part.operands)
      text += operand < group.inputs.size() ? fmt::format(" a{}", operand)
                                            : fmt::format(" v{}", operand - group.inputs.size());
  }
  return "[" + text + "]";
}

std::string print(const Graph& graph) {
  std::string text;
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) text += numbered_line(graph, i) + "\n";
  text += "outputs";
  for (std::uint32_t o : graph.outputs) text += fmt::format(" %{}", o);
  return text + "\n";
}

std::string changes(const Graph& before, const Graph& after) {
  std::map<std::string, std::ptrdiff_t> removed;
  for (const GraphNode& node : before.nodes) ++removed[signature(before, node)];
  for (const GraphNode& node : after.nodes) --removed[signature(after, node)];
  std::map<std::string, std::ptrdiff_t> added;
  for (const auto& [node, surplus] : removed) added[node] = -surplus;
  std::string text;
  append_surplus(text, before, removed, '-');
  append_surplus(text, after, added, '+');
  return text;
}

}  // namespace wick
