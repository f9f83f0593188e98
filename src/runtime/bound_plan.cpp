#include "runtime/bound_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <numeric>
#include <optional>
#include <utility>

#include "backend/backend.h"
#include "backend/threads.h"
#include "core/trace.h"
#include "runtime/arena_pool.h"
#include "runtime/memory.h"
#include "runtime/numeric_check.h"
#include "runtime/profile_watcher.h"
#include "wick/error.h"

namespace wick {

BoundPlan::BoundPlan(std::shared_ptr<const Plan> plan, std::vector<const Value*> leaves, int threads,
                     bool checked)
    : plan_(std::move(plan)), threads_(threads), checked_(checked), leaves_(std::move(leaves)) {
  leaf_data_.reserve(leaves_.size());
  for (std::size_t i = 0; i < leaves_.size(); ++i) {
    const auto size = static_cast<std::int64_t>(size_of(plan_->graph.leaves[i].dtype));
    leaf_data_.push_back(leaves_[i]->storage->data() + leaves_[i]->layout.offset * size);
  }
}

BoundPlan::~BoundPlan() {
  running_.reset();  // nothing that it uses goes before
}

void BoundPlan::allocate() {
  const Backend& backend = backend_for(plan_->graph.device);
  require_memory(*plan_, backend);
  results_.reserve(plan_->result_bytes.size());
  try {
    for (std::uint64_t bytes : plan_->result_bytes) results_.push_back(backend.allocate(bytes));
  } catch (const MemoryError& e) {
    throw MemoryError(fmt::format("{} (this evaluation plans {} bytes)", e.what(), plan_->peak_bytes()));
  }
}

std::uint64_t BoundPlan::result_bytes() const noexcept {
  return std::accumulate(plan_->result_bytes.begin(), plan_->result_bytes.end(), std::uint64_t{0});
}

bool BoundPlan::can_start_behind(const BoundPlan& before) const {
  if (!before.running_ || !plan_->program || checked_ || trace::active()) return false;
  if (!(plan_->graph.device == before.plan_->graph.device)) return false;
  if (before.arena_ && before.arena_->bytes() < plan_->arena_bytes) return false;
  return std::ranges::all_of(
      leaves_, [&](const Value* leaf) { return leaf->ready() || leaf->completion == before.completion_; });
}

void BoundPlan::start(const BoundPlan* before) {
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

bool BoundPlan::wait_briefly() { return !running_ || running_->wait_briefly(); }

void BoundPlan::finish() {
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

std::unique_ptr<RunningProgram> BoundPlan::run(std::span<std::byte* const> bases) const {
  SmallVector<StepWatcher*, 2> watchers;
  std::optional<ProfileWatcher> profile;
  if (trace::active()) watchers.push_back(&profile.emplace(plan_));
  std::optional<NumericWatcher> numbers;
  const Backend& backend = backend_for(plan_->graph.device);
  if (checked_) watchers.push_back(&numbers.emplace(*plan_, backend, bases));
  LeafStorages leaves{{}, may_keep_packed(*plan_, backend)};
  for (std::size_t i = 0; i < leaves_.size(); ++i) {
    leaves.storages.push_back(leaves_[i]->storage.get());
    if (plan_->graph.leaves[i].donated) leaves_[i]->storage->forget_contents();
  }
  return plan_->start(bases, leaves, {watchers.data(), watchers.size()});
}

Value BoundPlan::value_of(std::size_t output) const {
  const auto& [base, layout] = plan_->outputs[output];
  const std::size_t number = base - std::size_t{1};
  if (!plan_->is_leaf_base(base)) return {results_[base - plan_->result_base(0)], layout, completion_};
  if (number >= leaves_.size()) return {plan_->graph.leaves[number].constant, layout, completion_};
  Value value{leaves_[number]->storage, layout, completion_};
  value.layout.offset += leaves_[number]->layout.offset;
  return value;
}

}  // namespace wick
