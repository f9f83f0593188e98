#include "grad/history.h"

#include <mutex>
#include <string>
#include <unordered_map>

#include "backend/backend.h"
#include "core/pointer_map.h"
#include "graph/record.h"
#include "graph/scope_names.h"
#include "graph/structure_key.h"
#include "optimize/decompose_scope.h"
#include "optimize/pass_selection.h"
#include "optimize/pipeline.h"

namespace wick {
namespace {

struct TargetAttrs {
  std::int64_t number;
};

/// The identity, between a target and its readers: no pass makes one of the target and something else.
const Op target_op{
    .name = "target",
    .infer = [](InputSpecs inputs, const Attrs&) -> Spec { return inputs[0]; },
    .vjp = [](const VjpArgs& args) -> std::vector<Tensor> { return {args.grad}; },
};

/// Whether a gradient with respect to a target may arrive at a node, and whether one would go on through it.
struct Flow {
  Flow(const Walk& walk, std::span<const std::uint32_t> targets)
      : arrives(walk.order.size(), 0), below(walk.order.size(), 0) {
    for (std::uint32_t target : targets)
      if (target != GradHistory::absent) arrives[target] = 1;
    for (std::size_t i = 0; i < walk.order.size(); ++i) {
      for (std::uint32_t e : walk.inputs(i)) below[i] = static_cast<char>(below[i] | arrives[e]);
      const Op* op = walk.order[i]->op();
      arrives[i] = static_cast<char>(arrives[i] | (below[i] && op && op->differentiable));
    }
  }
  /// Where differentiating ends: an op without a gradient, or data that no target leads to.
  bool ends_at(const Walk& walk, std::size_t i) const {
    const Node& node = *walk.order[i];
    return arrives[i] ? below[i] == 0 : below[i] != 0 || node.value();
  }
  std::vector<char> arrives;
  std::vector<char> below;
};

/// The recorded graph with each target that is no leaf set apart from its readers.
Graph with_targets_apart(const Graph& graph, std::span<const std::uint32_t> targets) {
  std::vector<char> apart(graph.nodes.size(), 0);
  for (std::uint32_t target : targets)
    if (target != GradHistory::absent) apart[target] = graph.nodes[target].op != nullptr;
  Rewriter out(graph);
  for (std::uint32_t i = 0; i < graph.nodes.size(); ++i) {
    std::uint32_t at = out.append(out.mapped_copy(i));
    if (apart[i]) {
      GraphNode target;
      target.op = &target_op;
      target.attrs = TargetAttrs{i};
      target.spec = graph.nodes[i].spec;
      target.inputs.push_back(at);
      target.where = graph.nodes[i].where;
      at = out.append(std::move(target));
    }
    out.map(i, at);
  }
  return out.finish();
}

/// The graph in terms of composites; null where none was found that was not recorded so.
std::shared_ptr<const Graph> recognized(Walk walk, std::span<const std::uint32_t> targets) {
  const Flow flow(walk, targets);
  for (std::size_t i = 0; i < walk.order.size(); ++i) {
    const bool forgotten = walk.inputs(i).empty() && walk.order[i]->input_count() > 0;
    if (flow.ends_at(walk, i) || forgotten) walk.leaf[i] = 1;
  }
  Graph graph = with_targets_apart(snapshot(walk, std::vector<char>(walk.order.size(), 0)), targets);
  for (std::uint32_t i = 0; i < graph.nodes.size(); ++i)
    if (graph.nodes[i].op && walk.order[graph.nodes[i].recorded]->value()) graph.outputs.push_back(i);
  graph = optimize_until_recognized(std::move(graph), {backend_for(cpu)});
  for (const GraphNode& node : graph.nodes)
    if (node.op && node.op->decompose &&
        (node.recorded == GradHistory::absent || walk.order[node.recorded]->op() != node.op))
      return std::make_shared<const Graph>(std::move(graph));
  return nullptr;
}

/// What was recognized in histories, by their structure. Bounded: when it is full, it starts anew.
class RecognizedHistories {
 public:
  static RecognizedHistories& instance() {
    static RecognizedHistories& cache = *new RecognizedHistories;  // never destroyed: threads may outlive it
    return cache;
  }

  std::shared_ptr<const Graph> find_or_make(const Walk& walk, std::span<const std::uint32_t> targets) {
    std::string key = key_of(walk, targets);
    {
      std::lock_guard lock(mutex_);
      if (const auto known = by_key_.find(key); known != by_key_.end()) return known->second;
    }
    std::shared_ptr<const Graph> graph = recognized(walk, targets);
    std::lock_guard lock(mutex_);
    nodes_ += walk.order.size();
    if (nodes_ > most_nodes) {
      by_key_.clear();
      nodes_ = walk.order.size();
    }
    by_key_.emplace(std::move(key), graph);
    return graph;
  }

 private:
  static constexpr std::size_t most_nodes = 50'000;

  static std::string key_of(const Walk& walk, std::span<const std::uint32_t> targets) {
    std::string text;
    KeyWriter key(text);
    key.reserve(64 + walk.order.size() * 32);
    key.put(disabled_passes());
    for (std::size_t i = 0; i < walk.order.size(); ++i) {
      put_structure(key, walk, i);
      key.put(walk.order[i]->value() != nullptr);
    }
    key.reserve(sizeof(std::uint32_t) * (targets.size() + 1));
    key.put(walk.roots[0]);
    key.put(targets.data(), targets.size_bytes());
    key.finish();
    return text;
  }

  std::mutex mutex_;
  std::unordered_map<std::string, std::shared_ptr<const Graph>> by_key_;
  std::size_t nodes_ = 0;
};

}  // namespace

GradHistory::GradHistory(const Tensor& output, std::span<const Tensor> targets, Reading reading)
    : walk_(walk(std::span(&output, 1), WalkThrough::everything,
                 reading.stop_at_targets ? targets : std::span<const Tensor>{})) {
  read_recorded(targets);
  if (!reading.recognize || DecomposeScope::active() || is_disabled(disabled_passes(), "recognize")) return;
  graph_ = RecognizedHistories::instance().find_or_make(walk_, targets_);
  if (graph_) read_recognized();
}

void GradHistory::read_recorded(std::span<const Tensor> targets) {
  constexpr std::uint32_t unreached = PointerMap::absent - 1;
  PointerMap position;
  for (const Tensor& target : targets) position.set(target.node(), unreached);
  values_.reserve(walk_.order.size());
  for (std::uint32_t i = 0; i < walk_.order.size(); ++i) {
    values_.push_back(Node::handle(walk_.order[i]));
    if (position.find(walk_.order[i]) != PointerMap::absent) position.set(walk_.order[i], i);
  }
  for (const Tensor& target : targets) {
    const std::uint32_t at = position.find(target.node());
    targets_.push_back(at == unreached ? absent : at);
  }
}

/// Values that were not recorded are now: what a composite takes in another form than the plain ops did.
void GradHistory::read_recognized() {
  const std::vector<Tensor> recorded = std::move(values_);
  std::vector<std::uint32_t> position(recorded.size(), absent);
  values_.clear();
  values_.reserve(graph_->nodes.size());
  std::vector<Tensor> inputs;
  for (std::uint32_t i = 0; i < graph_->nodes.size(); ++i) {
    const GraphNode& node = graph_->nodes[i];
    if (node.recorded != absent) {
      values_.push_back(recorded[node.recorded]);
      position[node.recorded] = i;  // of a target: behind what sets it apart, which comes last
      continue;
    }
    inputs.clear();
    for (std::uint32_t input : node.inputs) inputs.push_back(values_[input]);
    values_.push_back(record(*node.op, inputs, node.attrs, gradient_of(node.where)));
  }
  for (std::uint32_t& target : targets_)
    if (target != absent) target = position[target];
}

}  // namespace wick
