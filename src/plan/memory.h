#pragma once

#include <cstdint>
#include <map>
#include <vector>

namespace wick {

/// Places blocks with known lifetimes in one arena: a first-come, best-fit free list that is replayed in step
/// order. Offsets are multiples of 64 bytes.
class ArenaPlanner {
 public:
  std::uint64_t allocate(std::uint64_t bytes);
  void release(std::uint64_t offset, std::uint64_t bytes);
  /// Bytes that the arena needs.
  std::uint64_t size() const noexcept { return size_; }
  static std::uint64_t rounded(std::uint64_t bytes) noexcept { return (bytes + 63) / 64 * 64; }

 private:
  void insert(std::uint64_t offset, std::uint64_t bytes);
  void erase(std::map<std::uint64_t, std::uint64_t>::iterator it);

  std::map<std::uint64_t, std::uint64_t> free_;          // offset -> bytes
  std::multimap<std::uint64_t, std::uint64_t> by_size_;  // bytes -> offset
  std::uint64_t size_ = 0;
};

}  // namespace wick
