#include "runtime/arena_pool.h"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>
#include <vector>

#include "core/allocate.h"
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
  static Pool& instance() {
    // Never destroyed: a worker may still run when the process ends.
    static Pool& pool = *new Pool;
    return pool;
  }

 private:
  static constexpr std::size_t most_blocks = 4;
  std::mutex mutex_;
  std::vector<std::shared_ptr<Storage>> free_;
};

}  // namespace

ArenaLease::ArenaLease(std::uint64_t bytes, std::uint64_t planned_bytes) {
  if (bytes == 0) return;
  block_ = Pool::instance().take(bytes);
  if (block_) return;
  try {
    block_ = allocate_host(bytes);
  } catch (const MemoryError& e) {
    throw MemoryError(fmt::format("{} (this evaluation plans {} bytes)", e.what(), planned_bytes));
  }
}

ArenaLease::~ArenaLease() {
  if (block_) Pool::instance().give(std::move(block_));
}

void release_idle_arenas() { Pool::instance().clear(); }

}  // namespace wick
