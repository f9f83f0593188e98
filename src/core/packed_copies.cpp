#include "core/packed_copies.h"

#include "core/storage.h"

namespace wick {
namespace {

constexpr std::uint64_t default_limit = std::uint64_t{2} << 30;

constinit std::atomic<std::uint64_t> total{0};
constinit std::atomic<std::uint64_t> most{default_limit};

}  // namespace

PackedCopies::~PackedCopies() {
  for (const Entry& e : entries_)
    if (e.copy) total.fetch_sub(e.copy->bytes(), std::memory_order_relaxed);
}

PackedCopies::Entry& PackedCopies::entry(std::int64_t offset, const std::string& format) {
  for (Entry& e : entries_)
    if (e.offset == offset && e.format == format) return e;
  entries_.push_back({offset, format, 0, nullptr});
  return entries_.back();
}

std::shared_ptr<Storage> PackedCopies::find(std::int64_t offset, const std::string& format, int& asked) {
  std::lock_guard lock(mutex_);
  Entry& e = entry(offset, format);
  asked = ++e.asked;
  return e.copy;
}

void PackedCopies::keep(std::int64_t offset, const std::string& format, std::shared_ptr<Storage> copy) {
  std::lock_guard lock(mutex_);
  Entry& e = entry(offset, format);
  if (e.copy) return;
  const std::uint64_t bytes = copy->bytes();
  if (total.fetch_add(bytes, std::memory_order_relaxed) + bytes > limit()) {
    total.fetch_sub(bytes, std::memory_order_relaxed);
    return;
  }
  e.copy = std::move(copy);
}

std::uint64_t PackedCopies::total_bytes() noexcept { return total.load(std::memory_order_relaxed); }
std::uint64_t PackedCopies::limit() noexcept { return most.load(std::memory_order_relaxed); }
void PackedCopies::set_limit(std::uint64_t bytes) noexcept { most.store(bytes, std::memory_order_relaxed); }

}  // namespace wick
