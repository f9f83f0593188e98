#include "runtime/plan_cache.h"

#include "graph/structure_key.h"
#include "optimize/decompose_scope.h"
#include "optimize/pass_selection.h"

namespace wick {
namespace {

void put_line(KeyWriter& key, const SourceLocation& where) {
  key.put(where.file);
  key.put(where.line);
  key.put(where.scope);
}

}  // namespace

PlanCache& PlanCache::instance() {
  // Never destroyed: a worker may still run when the process ends.
  static PlanCache& cache = *new PlanCache;
  return cache;
}

std::shared_ptr<const Plan> PlanCache::find(std::string_view key) {
  std::lock_guard lock(mutex_);
  const auto it = by_key_.find(key);
  if (it == by_key_.end()) {
    ++misses_;
    return nullptr;
  }
  ++hits_;
  entries_.splice(entries_.begin(), entries_, it->second);
  return it->second->plan;
}

void PlanCache::insert(std::string key, std::shared_ptr<const Plan> plan) {
  std::list<Entry> dropped;  // freed outside the lock
  std::lock_guard lock(mutex_);
  if (by_key_.contains(key)) return;
  steps_ += plan->steps.size();
  bytes_ += key.size() + plan->own_bytes();
  entries_.push_front({std::move(key), std::move(plan)});
  by_key_.emplace(entries_.front().key, entries_.begin());
  while (entries_.size() > 1 && (entries_.size() > most_plans || steps_ > most_steps)) {
    by_key_.erase(entries_.back().key);
    steps_ -= entries_.back().plan->steps.size();
    bytes_ -= entries_.back().key.size() + entries_.back().plan->own_bytes();
    dropped.splice(dropped.begin(), entries_, std::prev(entries_.end()));
  }
}

PlanCacheStats PlanCache::stats() const {
  std::lock_guard lock(mutex_);
  return {hits_, misses_, entries_.size(), bytes_};
}

void PlanCache::release_kept_memory(Device device) const {
  std::lock_guard lock(mutex_);
  for (const Entry& entry : entries_)
    if (entry.plan->program && entry.plan->graph.device == device) entry.plan->program->release_kept_memory();
}

std::string plan_key(const Walk& walk, const std::vector<char>& donated, PlanKey kind) {
  constexpr std::size_t settings = 64;
  std::string text;
  KeyWriter key(text);
  key.reserve(settings + walk.order.size() * 32);
  key.put(threads());
  key.put(kind);
  key.put(DecomposeScope::active());
  key.put(disabled_passes());
  key.put(PackedCopies::limit());
  if (!walk.roots.empty()) key.put(walk.order[walk.roots[0]]->device());
  for (std::size_t i = 0; i < walk.order.size(); ++i) {
    put_structure(key, walk, i);
    const Node& node = *walk.order[i];
    if (walk.is_leaf(i)) {
      key.put(donated[i]);
      key.put(node.value()->storage->is_weight());
    } else if (kind == PlanKey::structure_and_lines) {
      put_line(key, node.where());
    }
  }
  key.reserve(walk.roots.size() * sizeof(std::uint32_t));
  key.put(walk.roots.data(), walk.roots.size() * sizeof(std::uint32_t));
  key.finish();
  return text;
}

}  // namespace wick
