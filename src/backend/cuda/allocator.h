#pragma once

#include <atomic>
#include <cstddef>
#include <limits>
#include <map>
#include <memory>
#include <mutex>

#include "backend/backend.h"
#include "core/storage.h"

namespace wick::cuda {

/// The memory of one GPU. Blocks that were given back are kept by size for the next who asks, because
/// cudaMalloc and cudaFree wait for the device. A block is given back only when no work in flight uses it (an
/// evaluation holds what it reads and writes until it is complete), so that blocks need no order of streams.
/// Thread-safe.
class Allocator {
 public:
  explicit Allocator(int device) : device_(device) {}

  /// Aligned to 256 bytes, uninitialised. Throws MemoryError with the numbers.
  std::shared_ptr<Storage> allocate(std::size_t bytes);
  void give(void* block, std::size_t bytes) noexcept;
  /// `free` is asked for only where this process took memory from the system or returned some since: asking
  /// takes longer than a small evaluation.
  MemoryUse use() const;
  void reset_peak();
  /// Returns the kept blocks to the system.
  void release() noexcept;

 private:
  void* take_kept(std::size_t rounded);
  void* take_fresh(std::size_t rounded);

  const int device_;
  mutable std::mutex mutex_;
  std::multimap<std::size_t, void*> kept_;  // by rounded size
  std::size_t kept_bytes_ = 0;
  std::size_t held_ = 0;
  std::size_t peak_ = 0;
  mutable std::atomic<std::size_t> free_{unknown};
  static constexpr std::size_t unknown = std::numeric_limits<std::size_t>::max();
};

/// The allocator of a GPU. Never destroyed: storage may outlive static objects.
Allocator& allocator_of(int device);

}  // namespace wick::cuda
