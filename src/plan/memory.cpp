#include "plan/memory.h"

#include <algorithm>
#include <iterator>

namespace wick {

void ArenaPlanner::insert(std::uint64_t offset, std::uint64_t bytes) {
  free_.emplace(offset, bytes);
  by_size_.emplace(bytes, offset);
}

void ArenaPlanner::erase(std::map<std::uint64_t, std::uint64_t>::iterator it) {
  const auto [begin, end] = by_size_.equal_range(it->second);
  by_size_.erase(std::find_if(begin, end, [&](const auto& entry) { return entry.second == it->first; }));
  free_.erase(it);
}

std::uint64_t ArenaPlanner::allocate(std::uint64_t bytes) {
  bytes = rounded(std::max<std::uint64_t>(bytes, 1));
  const auto fit = by_size_.lower_bound(bytes);
  if (fit != by_size_.end()) {
    const std::uint64_t offset = fit->second;
    const std::uint64_t available = fit->first;
    erase(free_.find(offset));
    if (available > bytes) insert(offset + bytes, available - bytes);
    return offset;
  }
  // Grow, using a free block at the very end if there is one.
  std::uint64_t offset = size_;
  if (!free_.empty()) {
    const auto last = std::prev(free_.end());
    if (last->first + last->second == size_) {
      offset = last->first;
      erase(last);
    }
  }
  size_ = offset + bytes;
  return offset;
}

void ArenaPlanner::release(std::uint64_t offset, std::uint64_t bytes) {
  bytes = rounded(std::max<std::uint64_t>(bytes, 1));
  auto next = free_.lower_bound(offset);
  if (next != free_.end() && offset + bytes == next->first) {
    bytes += next->second;
    const auto merged = next++;
    erase(merged);
  }
  if (next != free_.begin()) {
    const auto previous = std::prev(next);
    if (previous->first + previous->second == offset) {
      offset = previous->first;
      bytes += previous->second;
      erase(previous);
    }
  }
  insert(offset, bytes);
}

}  // namespace wick
