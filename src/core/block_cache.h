#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>

namespace wick {

/// Keeps blocks of memory that were given back, for the next who asks for their size: a fresh block costs a
/// page fault for each page that is written first. Blocks come in size classes, four to a power of two. What
/// is kept is bounded; the blocks given back longest ago go first. Thread-safe.
class BlockCache {
 public:
  /// Keeps at most `most_bytes`.
  explicit constexpr BlockCache(std::size_t most_bytes) : most_bytes_(most_bytes) {}
  ~BlockCache() = default;  // keeps its blocks: whoever holds memory at exit gives it back later
  BlockCache(const BlockCache&) = delete;
  BlockCache& operator=(const BlockCache&) = delete;

  /// An uninitialised block of at least `bytes`, aligned to a cache line; null when the system has none.
  /// Blocks of megabytes ask for huge pages.
  void* take(std::size_t bytes) noexcept;
  /// Returns what `take(bytes)` gave.
  void give(void* block, std::size_t bytes) noexcept;
  /// Returns all kept blocks to the system.
  void release() noexcept;
  /// Bytes of the kept blocks.
  std::size_t kept_bytes() const noexcept;

 private:
  /// Lies in the first bytes of a kept block, which is in two lists: those of its class, and all by age.
  struct Kept {
    Kept* next;  // in the class
    Kept* previous;
    Kept* older;
    Kept* newer;
    std::uint32_t size_class;
  };
  static constexpr std::size_t class_count = 256;

  void keep(Kept* block, std::uint32_t size_class) noexcept;
  void remove(Kept* block) noexcept;

  const std::size_t most_bytes_;
  mutable std::mutex mutex_;
  std::array<Kept*, class_count> classes_{};  // the newest of each
  Kept* newest_ = nullptr;
  Kept* oldest_ = nullptr;
  std::size_t kept_bytes_ = 0;
};

}  // namespace wick
