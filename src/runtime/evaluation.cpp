#include "runtime/evaluation.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <numeric>
#include <optional>
#include <utility>

#include "backend/backend.h"
#include "backend/threads.h"
#include "core/trace.h"
#include "optimize/decompose_scope.h"
#include "optimize/pipeline.h"
#include "runtime/arena_pool.h"
#include "runtime/memory.h"
#include "runtime/numeric_check.h"
#include "runtime/plan_cache.h"
#include "runtime/profile_watcher.h"
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

Graph graph_to_evaluate(std::span<const Tensor> outputs, History history) {
  const Walk walked = walk(outputs, WalkThrough::unevaluated);
  return snapshot(walked, donated_leaves(walked, history));
}

BoundEvaluation::BoundEvaluation(std::span<const Tensor> outputs, History history)
    : outputs_(outputs.begin(), outputs.end()),
      history_(history),
      threads_(threads()),
      checked_(numeric_checks()) {
  use_configured_threads();
  if (checked_ && !(device() == cpu))
    throw DeviceError("numbers are checked on the CPU only, not on " + device().str());
  {
    const trace::Span span("plan", "walk");
    walk_ = walk(outputs_, WalkThrough::unevaluated);
  }
  donated_ = donated_leaves(walk_, history_);
  for (std::size_t i = 0; i < walk_.order.size(); ++i) {
    if (!walk_.is_leaf(i)) continue;
    const Value& value = *walk_.order[i]->value();
    leaves_.push_back(&value);
    leaf_data_.push_back(value.storage->data() +
                         value.layout.offset * static_cast<std::int64_t>(size_of(walk_.order[i]->dtype())));
  }
  find_plan();
}

BoundEvaluation::~BoundEvaluation() {
  running_.reset();  // nothing that it uses goes before
  for (Storage* storage : announced_) storage->withdraw_announcement();
}

void BoundEvaluation::find_plan() {
  trace::Span span("plan", "plan: found in the cache");
  std::optional<DisablePassesScope> single_ops;
  if (checked_) single_ops.emplace(joining_passes());
  std::string key = plan_key(walk_, donated_, checked_ ? PlanKey::structure_and_lines : PlanKey::structure);
  plan_ = PlanCache::instance().find(key);
  if (plan_) return;
  span.rename("plan: made anew");
  const Backend& backend = backend_for(device());
  Graph graph = optimized(snapshot(walk_, donated_), {backend, DecomposeScope::active()});
  const trace::Span placing("plan", "choose kernels and place values");
  plan_ = make_plan(std::move(graph), backend);
  PlanCache::instance().insert(std::move(key), plan_);
}

void BoundEvaluation::allocate() {
  const Backend& backend = backend_for(plan_->graph.device);
  require_memory(*plan_, backend);
  results_.reserve(plan_->result_bytes.size());
  try {
    for (std::uint64_t bytes : plan_->result_bytes) results_.push_back(backend.allocate(bytes));
  } catch (const MemoryError& e) {
    throw MemoryError(fmt::format("{} (this evaluation plans {} bytes)", e.what(), plan_->peak_bytes()));
  }
}

std::uint64_t BoundEvaluation::result_bytes() const noexcept {
  return std::accumulate(plan_->result_bytes.begin(), plan_->result_bytes.end(), std::uint64_t{0});
}

bool BoundEvaluation::can_start_behind(const BoundEvaluation& before) const {
  if (!before.running_ || !plan_->program || checked_ || trace::active()) return false;
  if (!(plan_->graph.device == before.plan_->graph.device)) return false;
  if (before.arena_ && before.arena_->bytes() < plan_->arena_bytes) return false;
  return std::ranges::all_of(leaves_, [&](const Value* leaf) {
    return leaf->ready() || leaf->completion == before.completion_;
  });
}

void BoundEvaluation::start(const BoundEvaluation* before) {
  const ThreadsScope scope(threads_);
  use_configured_threads();
  std::vector<std::byte*> bases;
  bases.reserve(1 + plan_->graph.leaves.size() + results_.size());
  for (const Value* leaf : leaves_) {
    if (!leaf->completion) continue;
    if (before && leaf->completion == before->completion_)
      before_ = leaf->completion;
    else
      leaf->completion->wait();
  }
  const Backend& backend = backend_for(plan_->graph.device);
  if (before && before->arena_)
    arena_ = before->arena_;
  else
    arena_ = std::make_shared<ArenaLease>(backend, plan_->arena_bytes, plan_->peak_bytes());
  bases.push_back(arena_->data());
  bases.insert(bases.end(), leaf_data_.begin(), leaf_data_.end());
  for (std::size_t i = leaves_.size(); i < plan_->graph.leaves.size(); ++i)
    bases.push_back(plan_->graph.leaves[i].constant->data());
  for (const auto& result : results_) bases.push_back(result->data());
  const trace::Span span("execute", "execute");
  running_ = run(bases);
}

bool BoundEvaluation::wait_briefly() { return !running_ || running_->wait_briefly(); }

void BoundEvaluation::finish() {
  std::exception_ptr error;
  try {
    if (running_) plan_->finish(*running_);
  } catch (...) {
    error = std::current_exception();
  }
  running_.reset();
  arena_.reset();
  if (before_) before_->wait();  // it is over; what was made of a failed one's results is nothing
  if (error) std::rethrow_exception(error);
}

std::unique_ptr<RunningProgram> BoundEvaluation::run(std::span<std::byte* const> bases) const {
  SmallVector<StepWatcher*, 2> watchers;
  std::optional<ProfileWatcher> profile;
  if (trace::active()) watchers.push_back(&profile.emplace(plan_));
  std::optional<NumericWatcher> numbers;
  if (checked_) watchers.push_back(&numbers.emplace(*plan_, bases));
  LeafStorages leaves{{}, may_keep_packed(*plan_, backend_for(plan_->graph.device))};
  for (std::size_t i = 0; i < leaves_.size(); ++i) {
    leaves.storages.push_back(leaves_[i]->storage.get());
    if (plan_->graph.leaves[i].donated) leaves_[i]->storage->forget_contents();
  }
  return plan_->start(bases, leaves, {watchers.data(), watchers.size()});
}

void BoundEvaluation::publish(const std::shared_ptr<Completion>& completion) {
  completion_ = completion;
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    const PlanOutput& output = plan_->outputs[i];
    auto value = std::make_unique<Value>();
    value->layout = output.layout;
    value->completion = completion;
    const std::size_t number = output.base - std::size_t{1};
    if (plan_->is_leaf_base(output.base) && number >= leaves_.size()) {
      value->storage = plan_->graph.leaves[number].constant;
    } else if (plan_->is_leaf_base(output.base)) {
      const Value& leaf = *leaves_[number];
      value->storage = leaf.storage;
      value->layout.offset += leaf.layout.offset;
    } else {
      value->storage = results_[output.base - plan_->result_base(0)];
    }
    outputs_[i].node()->publish(std::move(value));
  }
}

void BoundEvaluation::release_outputs() {
  if (history_ == History::keep) return;
  forget_history();
  for (const auto& result : results_) announced_.push_back(result.get());
  for (std::size_t i = 0; i < walk_.order.size(); ++i) {
    if (!walk_.is_leaf(i)) continue;
    held_.push_back(Node::handle(walk_.order[i]));
    // The node of a donated leaf, and with it the reference, goes with this evaluation.
    if (donated_[i]) announced_.push_back(walk_.order[i]->value()->storage.get());
  }
  for (Storage* storage : announced_) storage->announce_release();
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
