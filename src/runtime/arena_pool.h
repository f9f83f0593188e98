#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "core/storage.h"

namespace wick {

class Backend;

/// Scratch memory of one run of a plan, taken from a small process-wide pool and returned to it.
class ArenaLease {
 public:
  /// `planned_bytes` goes into the error message. Throws MemoryError.
  ArenaLease(const Backend& backend, std::uint64_t bytes, std::uint64_t planned_bytes);
  ~ArenaLease();
  ArenaLease(const ArenaLease&) = delete;
  ArenaLease& operator=(const ArenaLease&) = delete;

  std::byte* data() const noexcept { return block_ ? block_->data() : nullptr; }
  std::size_t bytes() const noexcept { return block_ ? block_->bytes() : 0; }

 private:
  const Backend& backend_;
  std::shared_ptr<Storage> block_;
};

/// Frees the arenas that no run uses.
void release_idle_arenas(const Backend& backend);

}  // namespace wick
