#include "core/allocate.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <new>

#include "wick/error.h"

namespace wick {
namespace {

std::atomic<std::uint64_t> held{0};
std::atomic<std::uint64_t> peak{0};

void free_host(void* data, std::size_t bytes) noexcept {
  ::operator delete (data, std::align_val_t{allocation_alignment});
  held.fetch_sub(bytes, std::memory_order_relaxed);
}

}  // namespace

std::shared_ptr<Storage> allocate_host(std::size_t bytes) {
  void* data =
      ::operator new (std::max<std::size_t>(bytes, 1), std::align_val_t{allocation_alignment}, std::nothrow);
  if (!data)
    throw MemoryError(
        fmt::format("cannot allocate {} bytes; {} bytes are held already", bytes, held_bytes()));
  const std::uint64_t now = held.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  std::uint64_t seen = peak.load(std::memory_order_relaxed);
  while (now > seen && !peak.compare_exchange_weak(seen, now, std::memory_order_relaxed)) {
  }
  return std::make_shared<Storage>(data, bytes, &free_host);
}

std::uint64_t held_bytes() noexcept { return held.load(std::memory_order_relaxed); }
std::uint64_t peak_held_bytes() noexcept { return peak.load(std::memory_order_relaxed); }
void reset_peak_held_bytes() noexcept { peak.store(held_bytes(), std::memory_order_relaxed); }

}  // namespace wick
