#include "runtime/evaluation.h"

#include <optional>
#include <utility>

#include "backend/backend.h"
#include "backend/threads.h"
#include "core/trace.h"
#include "optimize/decompose_scope.h"
#include "optimize/pipeline.h"
#include "runtime/plan_cache.h"
#include "wick/device.h"
#include "wick/error.h"
#include "wick/numerics.h"
#include "wick/optimize.h"

namespace wick {
namespace {

/// Whether somebody besides the walked graph holds the node: each edge of the walk is a reference, and the
/// walk has one of its own.
bool held_elsewhere(const Node& node, std::uint32_t edges) {
  return node.references() > edges + 1 && !node.is_shared_number();
}

std::vector<std::uint32_t> count_edges(const Walk& walk) {
  std::vector<std::uint32_t> edges(walk.order.size(), 0);
  for (std::uint32_t e : walk.edges) ++edges[e];
  return edges;
}

/// Leaves whose storage dies with an evaluation of the walk, so that results may take it.
std::vector<char> donated_leaves(const Walk& walk, History history) {
  std::vector<char> donated(walk.order.size(), 0);
  if (history == History::keep) return donated;
  const Device device = walk.order[walk.roots.front()]->device();
  const std::vector<std::uint32_t> edges = count_edges(walk);
  std::vector<char> is_output(walk.order.size(), 0);
  for (std::uint32_t root : walk.roots) is_output[root] = 1;
  // A node that somebody may evaluate later pins everything that it depends on.
  std::vector<char> pinned(walk.order.size(), 0);
  for (std::size_t i = walk.order.size(); i-- > 0;) {
    const Node& node = *walk.order[i];
    if (!is_output[i] && held_elsewhere(node, edges[i])) pinned[i] = 1;
    for (std::uint32_t e : walk.inputs(i)) pinned[e] = static_cast<char>(pinned[e] | pinned[i]);
    if (!walk.is_leaf(i) || pinned[i] || is_output[i]) continue;
    const Value& value = *node.value();
    // A value still being computed may be donated too: execution waits for it before it writes.
    donated[i] = node.device() == device && value.storage->writable() && Storage::held_once(value.storage) &&
                 value.layout.offset == 0 && value.layout.is_contiguous();
  }
  return donated;
}

/// The pipeline, with a span in the profile for each pass.
Graph optimized(Graph graph, const PassContext& context) {
  if (!trace::active()) return optimize(std::move(graph), context);
  const trace::Span span("plan", "optimise");
  std::int64_t begin = trace::now();
  return optimize(std::move(graph), context, [&](const Pass& pass, const Graph&, const Graph&, double) {
    const std::int64_t end = trace::now();
    trace::add({.category = "pass", .name = pass.name, .begin = std::exchange(begin, end), .end = end});
  });
}

}  // namespace

std::vector<const Value*> leaves_of(const Walk& walk) {
  std::vector<const Value*> leaves;
  for (std::size_t i = 0; i < walk.order.size(); ++i)
    if (walk.is_leaf(i)) leaves.push_back(walk.order[i]->value());
  return leaves;
}

std::shared_ptr<const Plan> plan_for(const Walk& walk, const std::vector<char>& donated, bool checked) {
  trace::Span span("plan", "plan: found in the cache");
  std::optional<DisablePassesScope> single_ops;
  if (checked) single_ops.emplace(joining_passes());
  std::string key = plan_key(walk, donated, checked ? PlanKey::structure_and_lines : PlanKey::structure);
  std::shared_ptr<const Plan> plan = PlanCache::instance().find(key);
  if (plan) return plan;
  span.rename("plan: made anew");
  use_configured_threads();  // kernels are prepared for as many
  const Backend& backend = backend_for(walk.order[walk.roots.front()]->device());
  Graph graph = optimized(snapshot(walk, donated), {backend, DecomposeScope::active()});
  const trace::Span placing("plan", "choose kernels and place values");
  plan = make_plan(std::move(graph), backend);
  PlanCache::instance().insert(std::move(key), plan);
  return plan;
}

Graph graph_to_evaluate(std::span<const Tensor> outputs, History history) {
  use_configured_threads();
  const Walk walked = walk(outputs, WalkThrough::unevaluated);
  return snapshot(walked, donated_leaves(walked, history));
}

BoundEvaluation::BoundEvaluation(std::span<const Tensor> outputs, History history)
    : outputs_(outputs.begin(), outputs.end()), history_(history) {
  const bool checked = numeric_checks();
  {
    const trace::Span span("plan", "walk");
    walk_ = walk(outputs_, WalkThrough::unevaluated);
  }
  donated_ = donated_leaves(walk_, history_);
  bound_.emplace(plan_for(walk_, donated_, checked), leaves_of(walk_), threads(), checked);
}

BoundEvaluation::~BoundEvaluation() {
  announced_.withdraw([&] {
    bound_.reset();
    held_.clear();
  });
}

void BoundEvaluation::publish(const std::shared_ptr<Completion>& completion) {
  bound_->complete_with(completion);
  for (std::size_t i = 0; i < outputs_.size(); ++i)
    outputs_[i].node()->publish(std::make_unique<Value>(bound_->value_of(i)));
}

void BoundEvaluation::release_outputs() {
  if (history_ == History::keep) return;
  forget_history();
  for (const auto& result : bound_->results()) announced_.announce(*result);
  for (std::size_t i = 0; i < walk_.order.size(); ++i) {
    if (!walk_.is_leaf(i)) continue;
    held_.push_back(Node::handle(walk_.order[i]));
    // The node of a donated leaf, and with it the reference, goes with this evaluation.
    if (donated_[i]) announced_.announce(*walk_.order[i]->value()->storage);
  }
  walk_ = {};
  outputs_.clear();
}

void BoundEvaluation::forget_history() {
  if (history_ == History::drop) {
    for (const Tensor& output : outputs_) output.node()->forget_inputs();
    return;
  }
  const std::vector<std::uint32_t> edges = count_edges(walk_);
  std::vector<char> reachable(walk_.order.size(), 0);  // whether a handle to something upstream exists
  for (std::size_t i = 0; i < walk_.order.size(); ++i) {
    const Node& node = *walk_.order[i];
    reachable[i] = walk_.is_leaf(i) && node.op() && node.input_count() > 0 && !node.has_forgotten();
    for (std::uint32_t e : walk_.inputs(i))
      reachable[i] =
          static_cast<char>(reachable[i] | reachable[e] | held_elsewhere(*walk_.order[e], edges[e]));
  }
  for (std::uint32_t root : walk_.roots)
    if (!reachable[root] && !walk_.is_leaf(root)) walk_.order[root]->forget_inputs();
}

}  // namespace wick
