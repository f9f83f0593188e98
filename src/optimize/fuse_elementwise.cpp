#include "optimize/fuse_elementwise.h"

#include <algorithm>
#include <array>
#include <numeric>

#include "backend/backend.h"
#include "graph/elementwise_group.h"

namespace wick {
namespace {

constexpr std::size_t most_instructions = 256;
constexpr std::size_t most_inputs = 8;
constexpr std::size_t most_registers = 16;
constexpr std::uint32_t none = ~std::uint32_t{0};

bool is_narrow(DType dtype) { return dtype == DType::bf16 || dtype == DType::f16; }

bool is_constant(const GraphNode& node) { return node.op && node.op->name == "constant"; }

/// Members of a group, users before what they use, and what is needed to know whether one more fits.
struct Members {
  std::vector<std::uint32_t> nodes;  // the result first
  std::vector<std::uint32_t> inputs;
  std::vector<std::uint32_t> constants;
  /// Per member, how many values of each dtype live while its instruction runs.
  std::vector<std::array<std::uint16_t, dtype_count>> live;
  std::array<std::uint16_t, dtype_count> most_live{};
  bool widens = false;  // an input is read through a conversion from a narrow float

  std::size_t registers() const {
    return std::accumulate(most_live.begin(), most_live.end(), inputs.size() + constants.size());
  }
};

void add_once(std::vector<std::uint32_t>& list, std::uint32_t value) {
  if (std::find(list.begin(), list.end(), value) == list.end()) list.push_back(value);
}

/// Grows groups from results towards their inputs: an elementwise node joins the group of its users when all
/// of them are in one group and it has the group's shape. Two kinds of nodes cost nothing inside a group, so
/// every group has its own: constants, and conversions from narrow floats, which are read through.
class Fusion {
 public:
  Fusion(const Graph& graph, const PassContext& context)
      : graph_(graph),
        context_(context),
        group_of_(graph.nodes.size(), none),
        used_by_(graph.nodes.size(), none),
        last_use_(graph.nodes.size(), 0),
        blocked_(graph.nodes.size(), 0),
        kept_(graph.nodes.size(), 0),
        number_(graph.nodes.size(), 0) {}

  Graph run() {
    assign_groups();
    Rewriter out(graph_);
    for (std::uint32_t i = 0; i < graph_.nodes.size(); ++i) {
      const std::uint32_t group = group_of_[i];
      const bool free_inside = is_constant(graph_.nodes[i]) || is_widening(graph_.nodes[i]);
      if (free_inside ? kept_[i] != 0 : group == none || stays_alone(groups_[group])) {
        out.map(i, out.append(out.mapped_copy(i)));
      } else if (!free_inside && groups_[group].nodes.front() == i) {  // the result: its inputs are all there
        GraphNode node = group_node(groups_[group]);
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

  /// Loading a tile widens narrow floats anyway.
  bool is_widening(const GraphNode& node) const {
    return node.op && node.op->name == "cast" && node.spec.dtype == DType::f32 &&
           is_narrow(graph_.nodes[node.inputs[0]].spec.dtype);
  }

  /// The value that a member reads in place of `i`.
  std::uint32_t read_through(std::uint32_t i) const {
    return is_widening(graph_.nodes[i]) ? graph_.nodes[i].inputs[0] : i;
  }

  static bool stays_alone(const Members& group) {
    return group.nodes.size() < 2 && group.constants.empty() && !group.widens;
  }

  void assign_groups() {
    for (std::uint32_t o : graph_.outputs) blocked_[o] = kept_[o] = 1;
    for (std::uint32_t i = static_cast<std::uint32_t>(graph_.nodes.size()); i-- > 0;) {
      const GraphNode& node = graph_.nodes[i];
      if (is_widening(node)) {
        // Members read its input instead: it has the users of both.
        const bool one_group = !blocked_[i] && used_by_[i] != none;
        note_use(node.inputs[0], one_group ? used_by_[i] : none, last_use_[i]);
        if (kept_[i]) kept_[node.inputs[0]] = 1;
        continue;
      }
      if (fusible(node)) join_or_begin(i);
      const std::uint32_t group = group_of_[i];
      const auto at = group == none ? 0 : static_cast<std::uint32_t>(groups_[group].nodes.size() - 1);
      for (std::uint32_t input : node.inputs) {
        note_use(input, group, at);
        if (group == none) kept_[input] = 1;
      }
    }
  }

  /// Notes that the member at `at` of a group (or, with none, a node outside groups) reads `input`. Members
  /// come users first, so the one with the smallest number is the last to run.
  void note_use(std::uint32_t input, std::uint32_t group, std::uint32_t at) {
    if (group == none || (used_by_[input] != none && used_by_[input] != group)) blocked_[input] = 1;
    last_use_[input] = used_by_[input] == none ? at : std::min(last_use_[input], at);
    used_by_[input] = group;
  }

  void join_or_begin(std::uint32_t i) {
    if (!blocked_[i] && used_by_[i] != none && try_join(i, groups_[used_by_[i]])) {
      group_of_[i] = used_by_[i];
      return;
    }
    group_of_[i] = static_cast<std::uint32_t>(groups_.size());
    Members group;
    add(group, i, 0);
    groups_.push_back(std::move(group));
  }

  /// A conversion to a narrow float rounds, and groups round where they store: it can only end one.
  bool rounds(const GraphNode& node) const {
    return is_narrow(node.spec.dtype) && graph_.nodes[node.inputs[0]].spec.dtype != node.spec.dtype;
  }

  bool try_join(std::uint32_t i, Members& group) const {
    const GraphNode& node = graph_.nodes[i];
    if (rounds(node) || group.nodes.size() + group.constants.size() >= most_instructions) return false;
    if (!(node.spec.shape == graph_.nodes[group.nodes.front()].spec.shape)) return false;
    // What it would need, before it is added for good.
    std::size_t inputs = group.inputs.size() - 1;
    std::size_t constants = group.constants.size();
    for (std::size_t k = 0; k < node.inputs.size(); ++k) {
      const std::uint32_t input = read_through(node.inputs[k]);
      const auto& list = is_constant(graph_.nodes[input]) ? group.constants : group.inputs;
      if (std::find(list.begin(), list.end(), input) != list.end()) continue;
      if (std::find(node.inputs.begin(), node.inputs.begin() + k, node.inputs[k]) != node.inputs.begin() + k)
        continue;
      ++(&list == &group.constants ? constants : inputs);
    }
    const auto type = static_cast<std::size_t>(node.spec.dtype);
    std::uint16_t most = group.most_live[type];
    for (std::size_t m = last_use_[i]; m < group.live.size(); ++m)
      most = std::max<std::uint16_t>(most, static_cast<std::uint16_t>(group.live[m][type] + 1));
    const std::size_t registers = group.registers() - group.inputs.size() - group.constants.size() -
                                  group.most_live[type] + most + inputs + constants;
    if (inputs > most_inputs || registers > most_registers) return false;
    add(group, i, last_use_[i]);
    return true;
  }

  /// Adds `i`, which is read for the last time by the member at `last_use`.
  void add(Members& group, std::uint32_t i, std::uint32_t last_use) const {
    const GraphNode& node = graph_.nodes[i];
    const auto type = static_cast<std::size_t>(node.spec.dtype);
    group.nodes.push_back(i);
    std::erase(group.inputs, i);
    for (std::uint32_t input : node.inputs) {
      const std::uint32_t source = read_through(input);
      group.widens = group.widens || source != input;
      add_once(is_constant(graph_.nodes[source]) ? group.constants : group.inputs, source);
    }
    group.live.emplace_back();
    for (std::size_t m = last_use; m < group.live.size(); ++m)
      group.most_live[type] = std::max(group.most_live[type], ++group.live[m][type]);
  }

  /// The node that computes a group; its inputs are positions in the old graph.
  GraphNode group_node(const Members& members) {
    auto group = std::make_shared<ElementwiseGroup>();
    const GraphNode& result = graph_.nodes[members.nodes.front()];
    GraphNode node;
    node.op = &elementwise_group_op();
    node.spec = result.spec;
    node.where = result.where;
    std::uint32_t values = 0;
    for (std::uint32_t input : members.inputs) {
      node.inputs.push_back(input);
      group->inputs.push_back(graph_.nodes[input].spec.dtype);
      number_[input] = values++;
    }
    const auto instruct = [&](std::uint32_t i) {
      const GraphNode& part = graph_.nodes[i];
      ElementwiseGroup::Instruction instruction{part.op, part.attrs, part.spec.dtype, {}};
      for (std::uint32_t input : part.inputs) instruction.operands.push_back(number_[read_through(input)]);
      group->instructions.push_back(std::move(instruction));
      number_[i] = values++;
    };
    for (std::uint32_t constant : members.constants) instruct(constant);
    for (auto member = members.nodes.rbegin(); member != members.nodes.rend(); ++member) instruct(*member);
    group->results = {values - 1};
    node.group = std::move(group);
    return node;
  }

  const Graph& graph_;
  const PassContext& context_;
  std::vector<Members> groups_;
  std::vector<std::uint32_t> group_of_;  // of each node
  std::vector<std::uint32_t> used_by_;   // the group of its users, when they are in one
  std::vector<std::uint32_t> last_use_;  // the member of that group that reads it last
  std::vector<char> blocked_;            // used as an output, outside groups, or by several groups
  std::vector<char> kept_;               // needed outside groups
  std::vector<std::uint32_t> number_;    // as a value of the group that is being written
};

}  // namespace

Graph fuse_elementwise(const Graph& graph, const PassContext& context) {
  return Fusion(graph, context).run();
}

std::optional<ElementwiseGroup> program_of(const Graph& graph, std::uint32_t i, const PassContext& context) {
  const GraphNode& node = graph.nodes[i];
  if (node.op == &elementwise_group_op()) return *node.group;
  const bool alone = node.op && !node.group && node.op->elementwise && !node.inputs.empty() &&
                     context.backend.can_group(*node.op, graph.input_specs(node), node.spec);
  if (!alone) return std::nullopt;
  ElementwiseGroup program;
  ElementwiseGroup::Instruction instruction{node.op, node.attrs, node.spec.dtype, {}};
  for (std::uint32_t input : node.inputs) {
    instruction.operands.push_back(static_cast<std::uint32_t>(program.inputs.size()));
    program.inputs.push_back(graph.nodes[input].spec.dtype);
  }
  program.results = {static_cast<std::uint32_t>(program.inputs.size())};
  program.instructions.push_back(std::move(instruction));
  return program;
}

}  // namespace wick
