#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "core/storage.h"

namespace wick {

/// Alignment of every block: a cache line, and the widest vector.
inline constexpr std::size_t allocation_alignment = 64;

/// Uninitialised host memory. Throws MemoryError that states the bytes asked for and those held already.
std::shared_ptr<Storage> allocate_host(std::size_t bytes);

/// Zeros that take address space only, until they are written; not counted below. Throws MemoryError.
std::shared_ptr<Storage> reserve_host(std::size_t bytes);

/// Bytes that `allocate_host` gave out and nobody returned, and their maximum since the last reset.
std::uint64_t held_bytes() noexcept;
std::uint64_t peak_held_bytes() noexcept;
void reset_peak_held_bytes() noexcept;

/// Bytes that were returned and are kept for the next `allocate_host`, at most 256 MiB: they do not count as
/// held. `release_kept_bytes` gives them back to the system.
std::uint64_t kept_bytes() noexcept;
void release_kept_bytes() noexcept;

}  // namespace wick
