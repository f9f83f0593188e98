#include "optimize/fuse_elementwise.h"

#include <algorithm>

#include "backend/backend.h"
#include "graph/elementwise_group.h"

namespace wick {
namespace {

constexpr std::size_t most_instructions = 64;
constexpr std::size_t most_inputs = 8;
constexpr std::size_t most_registers = 16;
constexpr std::uint32_t ungrouped = ~std::uint32_t{0};

/// Grows groups from results towards their inputs: an elementwise node joins the group of its users when all
/// of them are in one group and it has the group's shape.
class Fusion {
 public:
  Fusion(const Graph& graph, const PassContext& context) : graph_(graph), context_(context) {}

  Graph run() {
    assign_groups();
    Rewriter out(graph_);
    for (std::uint32_t i = 0; i < graph_.nodes.size(); ++i) {
      const std::uint32_t group = group_of_[i];
      if (group == ungrouped || members_[group].size() < 2) {
        out.map(i, out.append(out.mapped_copy(i)));
      } else if (members_[group].front() == i) {  // the result: its inputs are all there
        GraphNode node = group_node(members_[group]);
        for (std::uint32_t& input : node.inputs) input = out[input];
        out.map(i, out.append(std::move(node)));
      }
    }
    return out.finish();
  }

 private:
  bool fusible(const GraphNode& node) const {
    return node.op && node.op->elementwise &&
           context_.backend.can_group(*node.op, graph_.input_specs(node), node.spec);
  }

  void assign_groups() {
    const std::size_t count = graph_.nodes.size();
    group_of_.assign(count, ungrouped);
    std::vector<std::uint32_t> user_group(count, ungrouped);
    std::vector<char> blocked(count, 0);  // used by an output, a node outside groups, or several groups
    for (std::uint32_t o : graph_.outputs) blocked[o] = 1;
    for (std::uint32_t i = static_cast<std::uint32_t>(count); i-- > 0;) {
      const GraphNode& node = graph_.nodes[i];
      if (fusible(node)) {
        if (!blocked[i] && user_group[i] != ungrouped && try_join(i, user_group[i])) {
          group_of_[i] = user_group[i];
        } else {
          group_of_[i] = static_cast<std::uint32_t>(members_.size());
          members_.push_back({i});
        }
      }
      for (std::uint32_t input : node.inputs) {
        if (group_of_[i] == ungrouped ||
            (user_group[input] != ungrouped && user_group[input] != group_of_[i]))
          blocked[input] = 1;
        user_group[input] = group_of_[i];
      }
    }
  }

  /// A conversion to a narrow float rounds, and groups round where they store: it can only end one.
  bool rounds(const GraphNode& node) const {
    const bool narrow = node.spec.dtype == DType::bf16 || node.spec.dtype == DType::f16;
    return narrow && graph_.nodes[node.inputs[0]].spec.dtype != node.spec.dtype;
  }

  bool try_join(std::uint32_t i, std::uint32_t group) {
    if (rounds(graph_.nodes[i])) return false;
    std::vector<std::uint32_t>& members = members_[group];
    if (members.size() >= most_instructions) return false;
    if (!(graph_.nodes[i].spec.shape == graph_.nodes[members.front()].spec.shape)) return false;
    members.push_back(i);
    const GraphNode node = group_node(members);
    if (node.inputs.size() <= most_inputs && node.group->registers_needed() <= most_registers) return true;
    members.pop_back();
    return false;
  }

  /// The node that computes `members`, users first; its inputs are positions in the old graph.
  GraphNode group_node(const std::vector<std::uint32_t>& members) const {
    auto group = std::make_shared<ElementwiseGroup>();
    const GraphNode& result = graph_.nodes[members.front()];
    std::vector<std::uint32_t> order(members.rbegin(), members.rend());
    std::sort(order.begin(), order.end());
    GraphNode node;
    node.op = &elementwise_group_op();
    node.spec = result.spec;
    node.where = result.where;
    const auto is_member = [&](std::uint32_t p) { return std::binary_search(order.begin(), order.end(), p); };
    for (std::uint32_t member : order)
      for (std::uint32_t input : graph_.nodes[member].inputs)
        if (!is_member(input) &&
            std::find(node.inputs.begin(), node.inputs.end(), input) == node.inputs.end()) {
          node.inputs.push_back(input);
          group->inputs.push_back(graph_.nodes[input].spec.dtype);
        }
    const auto number = [&](std::uint32_t p) {
      if (!is_member(p))
        return static_cast<std::uint32_t>(std::find(node.inputs.begin(), node.inputs.end(), p) -
                                          node.inputs.begin());
      const auto at = std::lower_bound(order.begin(), order.end(), p) - order.begin();
      return static_cast<std::uint32_t>(node.inputs.size() + static_cast<std::size_t>(at));
    };
    for (std::uint32_t member : order) {
      const GraphNode& part = graph_.nodes[member];
      ElementwiseGroup::Instruction instruction{part.op, part.attrs, part.spec.dtype, {}};
      for (std::uint32_t input : part.inputs) instruction.operands.push_back(number(input));
      group->instructions.push_back(std::move(instruction));
    }
    node.group = std::move(group);
    return node;
  }

  const Graph& graph_;
  const PassContext& context_;
  std::vector<std::uint32_t> group_of_;
  std::vector<std::vector<std::uint32_t>> members_;  // of each group, the result first
};

}  // namespace

Graph fuse_elementwise(const Graph& graph, const PassContext& context) {
  return Fusion(graph, context).run();
}

}  // namespace wick
