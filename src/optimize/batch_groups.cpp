#include "optimize/batch_groups.h"

#include <algorithm>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <string>

#include "backend/backend.h"
#include "graph/elementwise_group.h"

namespace wick {
namespace {

constexpr std::uint32_t none = ~std::uint32_t{0};

class Batcher {
 public:
  explicit Batcher(const Graph& graph)
      : graph_(graph),
        batch_of_(graph.nodes.size(), none),
        picks_(graph.nodes.size()),
        ready_(graph.nodes.size(), 0),
        is_read_(graph.nodes.size(), 0) {
    for (std::uint32_t i = 0; i < graph.nodes.size(); ++i) {
      const GraphNode& node = graph.nodes[i];
      if (node.op) ready_[i] = node.op->view ? ready_[node.inputs[0]] : i;
      if (node.op == &pick_op()) picks_[node.inputs[0]].push_back(i);
      for (std::uint32_t input : node.inputs)
        if (node.op != &pick_op()) is_read_[input] = 1;
    }
  }

  Graph run() {
    std::map<std::string, std::vector<std::uint32_t>> alike;
    for (std::uint32_t i = 0; i < graph_.nodes.size(); ++i)
      if (const auto key = key_of(i)) alike[*key].push_back(i);
    for (auto& [key, members] : alike) {
      if (members.size() < 2) continue;
      for (std::uint32_t member : members) batch_of_[member] = static_cast<std::uint32_t>(batches_.size());
      batches_.push_back(std::move(members));
    }
    return batches_.empty() ? graph_ : rewritten();
  }

 private:
  bool is_shared(const GraphNode& node, std::uint32_t input) const {
    return graph_.nodes[input].spec.shape.elements() == 1 && node.spec.shape.elements() != 1;
  }

  /// Equal for groups that can be members of one batch; nothing for those that cannot be a member of any.
  std::optional<std::string> key_of(std::uint32_t i) const {
    const GraphNode& node = graph_.nodes[i];
    if (node.op != &elementwise_group_op() || !is_last(i)) return std::nullopt;
    std::string key;
    const auto put = [&](const auto& value) {
      key.append(reinterpret_cast<const char*>(&value), sizeof(value));  // NOLINT: bytes to compare
    };
    std::uint32_t waits_for = 0;
    std::uint32_t own_ready = 0;
    for (std::size_t k = 0; k < node.inputs.size(); ++k) {
      const std::uint32_t input = node.inputs[k];
      const bool shared = is_shared(node, input);
      put(node.group->inputs[k]);
      put(shared ? input : none);
      if (!shared && !(graph_.nodes[input].spec.shape == node.spec.shape)) return std::nullopt;
      std::uint32_t& ready = shared ? waits_for : own_ready;
      ready = std::max(ready, ready_[input]);
    }
    if (waits_for == 0 || own_ready > waits_for || own_count(node) == 0) return std::nullopt;
    for (const ElementwiseGroup::Instruction& part : node.group->instructions) {
      put(part.op);
      put(part.dtype);
      const auto attrs = part.attrs.bytes();
      put(attrs.size());
      key.append(reinterpret_cast<const char*>(attrs.data()), attrs.size());  // NOLINT: likewise
      for (std::uint32_t operand : part.operands) put(operand);
      put(none);
    }
    for (std::uint32_t result : node.group->results) put(result);
    return key;
  }

  std::size_t own_count(const GraphNode& node) const {
    return static_cast<std::size_t>(
        std::count_if(node.inputs.begin(), node.inputs.end(),
                      [&](std::uint32_t input) { return !is_shared(node, input); }));
  }

  /// Whether nothing is computed from the group's results.
  bool is_last(std::uint32_t i) const {
    return !is_read_[i] && std::none_of(picks_[i].begin(), picks_[i].end(),
                                        [&](std::uint32_t pick) { return is_read_[pick]; });
  }

  Graph rewritten() const {
    Rewriter out(graph_);
    for (std::uint32_t i = 0; i < graph_.nodes.size(); ++i) {
      const GraphNode& node = graph_.nodes[i];
      const std::uint32_t group = node.op == &pick_op() ? node.inputs[0] : i;
      if (batch_of_[group] == none)
        out.map(i, out.append(out.mapped_copy(i)));
      else if (i == batches_[batch_of_[group]].back())
        append_batch(out, batches_[batch_of_[group]]);
    }
    return out.finish();
  }

  void append_batch(Rewriter& out, const std::vector<std::uint32_t>& members) const {
    const GraphNode& first = graph_.nodes[members.front()];
    const std::vector<std::uint32_t> order = shared_first(first);
    GraphNode batch;
    batch.op = &elementwise_batch_op();
    batch.spec = first.spec;
    batch.where = first.where;
    batch.group = program_of(first, order);
    for (std::size_t m = 0; m < members.size(); ++m)
      for (std::size_t k = m == 0 ? 0 : batch.group->shared; k < order.size(); ++k)
        batch.inputs.push_back(out[graph_.nodes[members[m]].inputs[order[k]]]);
    const std::uint32_t position = out.append(std::move(batch));
    const std::size_t results = first.group->results.size();
    const auto map_to = [&](std::uint32_t old, std::size_t number) {
      out.map(old, number == 0 ? position : out.append(pick(position, number, graph_.nodes[old])));
    };
    for (std::size_t m = 0; m < members.size(); ++m) {
      map_to(members[m], m * results);
      for (std::uint32_t old : picks_[members[m]])
        map_to(old, m * results + static_cast<std::size_t>(graph_.nodes[old].attrs.as<PickAttrs>().result));
    }
  }

  /// The numbers of a group's inputs, those that all members share first.
  std::vector<std::uint32_t> shared_first(const GraphNode& node) const {
    std::vector<std::uint32_t> order(node.inputs.size());
    std::iota(order.begin(), order.end(), 0U);
    std::stable_partition(order.begin(), order.end(),
                          [&](std::uint32_t k) { return is_shared(node, node.inputs[k]); });
    return order;
  }

  /// The group's program with its inputs in another order.
  std::shared_ptr<const ElementwiseGroup> program_of(const GraphNode& node,
                                                     const std::vector<std::uint32_t>& order) const {
    auto program = std::make_shared<ElementwiseGroup>(*node.group);
    program->shared = order.size() - own_count(node);
    std::vector<std::uint32_t> place(order.size());
    for (std::uint32_t k = 0; k < order.size(); ++k) {
      place[order[k]] = k;
      program->inputs[k] = node.group->inputs[order[k]];
    }
    const auto moved = [&](std::uint32_t& value) {
      if (value < place.size()) value = place[value];
    };
    for (ElementwiseGroup::Instruction& part : program->instructions)
      for (std::uint32_t& operand : part.operands) moved(operand);
    for (std::uint32_t& result : program->results) moved(result);
    return program;
  }

  const Graph& graph_;
  std::vector<std::vector<std::uint32_t>> batches_;  // groups, in the order of nodes
  std::vector<std::uint32_t> batch_of_;              // of each group
  std::vector<std::vector<std::uint32_t>> picks_;    // of each group
  std::vector<std::uint32_t> ready_;                 // the node that a value is there with; 0 for data
  std::vector<char> is_read_;                        // by something else than a pick
};

}  // namespace

Graph batch_groups(const Graph& graph, const PassContext& context) {
  if (!context.backend.find(elementwise_batch_op())) return graph;
  return Batcher(graph).run();
}

}  // namespace wick
