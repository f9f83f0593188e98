#include "optimize/join_adapters.h"

#include <map>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "graph/elementwise_group.h"
#include "ops/attributes.h"
#include "ops/lora_parts.h"
#include "optimize/has_kernel.h"
#include "optimize/join_nodes.h"

namespace wick {
namespace {

/// Members of one step, at most: what they read is held until all of it is there.
constexpr std::size_t most_members = 8;

bool is_projection(const GraphNode& node) { return node.op && node.op->name == "lora_projection"; }
bool is_gradient(const GraphNode& node) { return node.op && node.op->name == "lora_gradient"; }

class Joiner {
 public:
  Joiner(const Graph& graph, const PassContext& context)
      : graph_(graph), context_(context), same_layers_(graph.nodes.size()) {
    std::iota(same_layers_.begin(), same_layers_.end(), 0U);
  }

  Graph run() {
    find_layers();
    std::map<std::string, JoinedNodes> alike;
    for (std::uint32_t i = 0; i < graph_.nodes.size(); ++i) {
      const std::optional<std::string> key = key_of(i);
      if (!key) continue;
      JoinedNodes& members = alike[*key];
      members.push_back(i);
      if (members.size() == most_members) join(std::exchange(members, {}));
    }
    for (auto& [key, members] : alike) join(std::move(members));
    return join_nodes(graph_, steps_);
  }

 private:
  /// A factor's gradient reads what its layer reads, or the gradient of what it writes, and the projection of
  /// the other one.
  void find_layers() {
    for (const GraphNode& node : graph_.nodes) {
      if (!is_gradient(node)) continue;
      if (const std::optional<std::uint32_t> x = projected(graph_.nodes[node.inputs[1]]))
        same_layers_[layers_of(node.inputs[0])] = layers_of(*x);
    }
  }

  /// What a projection, perhaps a result of a product with adapters, is one of.
  std::optional<std::uint32_t> projected(const GraphNode& low) const {
    if (is_projection(low)) return low.inputs[0];
    if (low.op != &pick_op()) return std::nullopt;
    const GraphNode& step = graph_.nodes[low.inputs[0]];
    if (step.op != &lora_update_sum_op()) return std::nullopt;
    auto result = low.attrs.as<PickAttrs>().result;
    for (const LoraUpdateMember& member :
         lora_update_members(step.inputs.size(), step.attrs.as<LoraUpdateSumAttrs>()))
      if (member.keeps && --result == 0) return step.inputs[member.x];
    return std::nullopt;
  }

  /// Equal for values that layers with one input read, or get as gradients of their outputs.
  std::uint32_t layers_of(std::uint32_t value) {
    while (same_layers_[value] != value) value = same_layers_[value] = same_layers_[same_layers_[value]];
    return value;
  }

  /// Equal for nodes that can be members of one step; nothing for those that cannot be members of any.
  std::optional<std::string> key_of(std::uint32_t i) {
    const GraphNode& node = graph_.nodes[i];
    if (!is_projection(node) && !is_gradient(node)) return std::nullopt;
    std::string key;
    const auto put = [&](const auto& value) {
      key.append(reinterpret_cast<const char*>(&value), sizeof(value));  // NOLINT: bytes to compare
    };
    put(node.op);
    put(layers_of(node.inputs[0]));
    const Shape& low = is_projection(node) ? node.spec.shape : graph_.nodes[node.inputs[1]].spec.shape;
    put(low.elements());
    put(low.dim(-1));
    if (!is_projection(node)) return key;
    const auto attrs = node.attrs.as<LoraProjectionAttrs>();
    put(attrs.scale);
    put(attrs.transposed);
    return key;
  }

  void join(JoinedNodes members) {
    if (members.size() < 2) return;
    GraphNode step = step_of(members);
    if (has_kernel(graph_, step, context_)) steps_.push_back({std::move(members), std::move(step)});
  }

  /// Inputs are positions in the old graph.
  GraphNode step_of(const JoinedNodes& members) const {
    GraphNode step = graph_.nodes[members.front()];
    step.op = is_projection(step) ? &lora_projections_op() : &lora_gradients_op();
    step.inputs = {};
    std::int64_t transposed = 0;
    for (std::size_t m = 0; m < members.size(); ++m) {
      const GraphNode& node = graph_.nodes[members[m]];
      for (std::uint32_t input : node.inputs) step.inputs.push_back(input);
      if (is_gradient(node)) transposed |= node.attrs.as<LoraGradientAttrs>().transposed << m;
    }
    if (step.op == &lora_gradients_op()) step.attrs = LoraGradientAttrs{transposed};
    return step;
  }

  const Graph& graph_;
  const PassContext& context_;
  std::vector<std::uint32_t> same_layers_;  // of each value, another one of the same layers, or itself
  std::vector<JoinedStep> steps_;
};

}  // namespace

Graph join_adapters(const Graph& graph, const PassContext& context) {
  if (!context.backend.find(lora_projections_op()) && !context.backend.find(lora_gradients_op()))
    return graph;
  return Joiner(graph, context).run();
}

}  // namespace wick
