#include "runtime/plan_cache.h"

#include <algorithm>
#include <cstring>

#include "optimize/decompose_scope.h"
#include "optimize/pass_selection.h"

namespace wick {
namespace {

/// Appends values' bytes; grows the text by whole nodes, not by values.
class KeyWriter {
 public:
  explicit KeyWriter(std::string& key) : key_(key), used_(key.size()) {}
  /// Makes room for `bytes` more.
  void reserve(std::size_t bytes) {
    if (used_ + bytes > key_.size()) key_.resize(std::max(used_ + bytes, key_.size() * 2));
  }
  template <typename T>
  void put(const T& value) {
    put(&value, sizeof(T));
  }
  void put(Device device) {
    put(device.kind);
    put(device.index);
  }
  void put(const void* bytes, std::size_t count) {
    if (count == 0) return;  // there may be no address then
    std::memcpy(key_.data() + used_, bytes, count);
    used_ += count;
  }
  void finish() { key_.resize(used_); }

 private:
  std::string& key_;
  std::size_t used_;
};

void put_leaf(KeyWriter& key, const Node& node, char donated) {
  key.put(node.device());
  const Layout& layout = node.value()->layout;
  key.put(static_cast<const Op*>(nullptr));
  key.put(node.dtype());
  key.put(donated);
  key.put(node.value()->storage->is_weight());
  key.put(layout.shape.rank());
  const std::size_t bytes = sizeof(std::int64_t) * static_cast<std::size_t>(layout.shape.rank());
  key.put(layout.shape.dims().data(), bytes);
  key.put(layout.strides.data(), bytes);
}

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
  constexpr std::size_t fixed = 64;                                  // settings, or the fixed part of a node
  constexpr std::size_t leaf = 2 * sizeof(std::int64_t) * max_rank;  // layout of a leaf
  std::string text;
  KeyWriter key(text);
  key.reserve(fixed + walk.order.size() * 32);
  key.put(threads());
  key.put(kind);
  key.put(DecomposeScope::active());
  key.put(disabled_passes());
  key.put(PackedCopies::limit());
  if (!walk.roots.empty()) key.put(walk.order[walk.roots[0]]->device());
  for (std::size_t i = 0; i < walk.order.size(); ++i) {
    const Node& node = *walk.order[i];
    if (walk.is_leaf(i)) {
      key.reserve(fixed + leaf);
      put_leaf(key, node, donated[i]);
      continue;
    }
    const auto attrs = node.attrs().bytes();
    const auto inputs = walk.inputs(i);
    key.reserve(fixed + attrs.size() + inputs.size_bytes());
    key.put(node.op());
    key.put(attrs.data(), attrs.size());
    if (kind == PlanKey::structure_and_lines) put_line(key, node.where());
    key.put(static_cast<std::uint32_t>(inputs.size()));
    key.put(inputs.data(), inputs.size_bytes());
  }
  key.reserve(walk.roots.size() * sizeof(std::uint32_t));
  key.put(walk.roots.data(), walk.roots.size() * sizeof(std::uint32_t));
  key.finish();
  return text;
}

}  // namespace wick
