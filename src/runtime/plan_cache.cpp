#include "runtime/plan_cache.h"

#include <cstring>

#include "optimize/decompose_scope.h"

namespace wick {
namespace {

template <typename T>
void append(std::string& key, const T& value) {
  const std::size_t at = key.size();
  key.resize(at + sizeof(T));
  std::memcpy(key.data() + at, &value, sizeof(T));
}

}  // namespace

PlanCache& PlanCache::instance() {
  static PlanCache cache;
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
  entries_.push_front({std::move(key), std::move(plan)});
  by_key_.emplace(entries_.front().key, entries_.begin());
  while (entries_.size() > 1 && (entries_.size() > most_plans || steps_ > most_steps)) {
    by_key_.erase(entries_.back().key);
    steps_ -= entries_.back().plan->steps.size();
    dropped.splice(dropped.begin(), entries_, std::prev(entries_.end()));
  }
}

PlanCacheStats PlanCache::stats() const {
  std::lock_guard lock(mutex_);
  return {hits_, misses_, entries_.size()};
}

void append_plan_key(std::string& key, const Walk& walk, const std::vector<char>& donated) {
  append(key, threads());
  append(key, DecomposeScope::active());
  if (!walk.order.empty()) append(key, walk.order.front()->device());
  for (std::size_t i = 0; i < walk.order.size(); ++i) {
    const Node& node = *walk.order[i];
    if (walk.is_leaf(i)) {
      const Layout& layout = node.value()->layout;
      append(key, static_cast<const Op*>(nullptr));
      append(key, node.dtype());
      append(key, donated[i]);
      append(key, layout.shape.rank());
      for (int d = 0; d < layout.shape.rank(); ++d) {
        append(key, layout.shape[d]);
        append(key, layout.strides[static_cast<std::size_t>(d)]);
      }
      continue;
    }
    append(key, node.op());
    const auto attrs = node.attrs().bytes();
    key.append(reinterpret_cast<const char*>(attrs.data()), attrs.size());
    append(key, walk.first_edge[i + 1] - walk.first_edge[i]);
    for (std::uint32_t e : walk.inputs(i)) append(key, e);
  }
  for (std::uint32_t root : walk.roots) append(key, root);
}

}  // namespace wick
