#include "runtime/arena_pool.h"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "backend/backend.h"
#include "wick/error.h"

namespace wick {
namespace {

/// Free blocks, smallest first. A few are enough: one a concurrent evaluation.
class Pool {
 public:
  std::shared_ptr<Storage> take(std::uint64_t bytes) {
    std::vector<std::shared_ptr<Storage>> too_small;  // freed outside the lock
    std::lock_guard lock(mutex_);
    const auto fit =
        std::find_if(free_.begin(), free_.end(), [&](const auto& b) { return b->bytes() >= bytes; });
    if (fit != free_.end()) {
      auto block = std::move(*fit);
      free_.erase(fit);
      return block;
    }
    too_small.swap(free_);
    return nullptr;
  }
  void give(std::shared_ptr<Storage> block) {
    std::lock_guard lock(mutex_);
    if (free_.size() >= most_blocks) return;
    const auto at =
        std::find_if(free_.begin(), free_.end(), [&](const auto& b) { return b->bytes() >= block->bytes(); });
    free_.insert(at, std::move(block));
  }
  void clear() {
    std::vector<std::shared_ptr<Storage>> dropped;  // freed outside the lock
    std::lock_guard lock(mutex_);
    dropped.swap(free_);
  }
  static Pool& of(const Backend& backend) {
    // Never destroyed: a worker may still run when the process ends.
    static auto& pools = *new std::unordered_map<const Backend*, Pool>;
    static std::mutex mutex;
    std::lock_guard lock(mutex);
    return pools[&backend];
  }

 private:
  static constexpr std::size_t most_blocks = 4;
  std::mutex mutex_;
  std::vector<std::shared_ptr<Storage>> free_;
};

}  // namespace

ArenaLease::ArenaLease(const Backend& backend, std::uint64_t bytes, std::uint64_t planned_bytes)
    : backend_(backend) {
  if (bytes == 0) return;
  block_ = Pool::of(backend).take(bytes);
  if (block_) return;
  try {
    block_ = backend.allocate(bytes);
  } catch (const MemoryError& e) {
    throw MemoryError(fmt::format("{} (this evaluation plans {} bytes)", e.what(), planned_bytes));
  }
}

ArenaLease::~ArenaLease() {
  if (block_) Pool::of(backend_).give(std::move(block_));
}

void release_idle_arenas(const Backend& backend) { Pool::of(backend).clear(); }

}  // namespace wick
