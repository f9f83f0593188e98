#include "core/allocate.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>

#include "core/block_cache.h"
#include "core/sanitizers.h"
#include "wick/error.h"

namespace wick {
namespace {

constexpr std::size_t most_kept_bytes = checks_addresses ? 0 : std::size_t{256} << 20;

constinit BlockCache cache(most_kept_bytes);
std::atomic<std::uint64_t> held{0};
std::atomic<std::uint64_t> peak{0};

void free_host(void* data, std::size_t bytes) noexcept {
  cache.give(data, bytes);
  held.fetch_sub(bytes, std::memory_order_relaxed);
}

}  // namespace

std::shared_ptr<Storage> allocate_host(std::size_t bytes) {
  void* data = cache.take(bytes);
  if (!data)
    throw MemoryError(
        fmt::format("cannot allocate {} bytes; {} bytes are held already", bytes, held_bytes()));
  const std::uint64_t now = held.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  std::uint64_t seen = peak.load(std::memory_order_relaxed);
  while (now > seen && !peak.compare_exchange_weak(seen, now, std::memory_order_relaxed)) {
  }
  return std::make_shared<Storage>(data, bytes, &free_host);
}

std::shared_ptr<Storage> reserve_host(std::size_t bytes) {
  const std::size_t mapped = std::max<std::size_t>(bytes, 1);
  void* data =
      mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED) throw MemoryError(fmt::format("cannot reserve {} bytes of address space", bytes));
  return std::make_shared<Storage>(data, mapped,
                                   [](void* memory, std::size_t size) noexcept { munmap(memory, size); });
}

std::uint64_t held_bytes() noexcept { return held.load(std::memory_order_relaxed); }
std::uint64_t peak_held_bytes() noexcept { return peak.load(std::memory_order_relaxed); }
void reset_peak_held_bytes() noexcept { peak.store(held_bytes(), std::memory_order_relaxed); }
std::uint64_t kept_bytes() noexcept { return cache.kept_bytes(); }
void release_kept_bytes() noexcept { cache.release(); }

}  // namespace wick
