#include "core/block_cache.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <limits>
#include <new>

namespace wick {
namespace {

constexpr std::size_t line = 64;
constexpr std::size_t huge_page = std::size_t{1} << 21;
/// No system has this much; sizes below it can be rounded up without overflow.
constexpr std::size_t most = std::numeric_limits<std::size_t>::max() / 4;

/// Classes have the sizes 64, 128, 192, 256, then four to a power of two.
std::uint32_t class_of(std::size_t bytes) {
  const std::size_t lines = (bytes + line - 1) / line;
  if (lines <= 4) return static_cast<std::uint32_t>(std::max<std::size_t>(lines, 1) - 1);
  const std::size_t octave =
      std::bit_width(lines - 1) - std::size_t{1};  // 2^octave < lines <= 2^(octave + 1)
  const auto quarter = (lines - 1 - (std::size_t{1} << octave)) >> (octave - 2);
  return static_cast<std::uint32_t>(4 * (octave - 1)) + static_cast<std::uint32_t>(quarter);
}

std::size_t size_of_class(std::uint32_t size_class) {
  if (size_class < 4) return (size_class + 1) * line;
  const auto octave = size_class / 4 + 1;
  return ((std::size_t{5} + size_class % 4) << (octave - 2)) * line;
}

/// Memory from the system. Blocks of megabytes are aligned to huge pages, which take fewer faults and fewer
/// entries of the processor's table of pages.
void* map(std::size_t bytes) noexcept {
  if (bytes < huge_page) return ::operator new (bytes, std::align_val_t{line}, std::nothrow);
  const std::size_t reserved = bytes + huge_page;
  void* const mapped = ::mmap(nullptr, reserved, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  auto* const begin = static_cast<std::byte*>(mapped);
  const std::size_t before = (huge_page - reinterpret_cast<std::uintptr_t>(begin) % huge_page) % huge_page;
  std::byte* const block = begin + before;
  if (before > 0) ::munmap(begin, before);
  ::munmap(block + bytes, huge_page - before);
#ifdef MADV_HUGEPAGE
  ::madvise(block, bytes, MADV_HUGEPAGE);
#endif
  return block;
}

void unmap(void* block, std::size_t bytes) noexcept {
  if (bytes < huge_page)
    ::operator delete (block, std::align_val_t{line});
  else
    ::munmap(block, bytes);
}

}  // namespace

void* BlockCache::take(std::size_t bytes) noexcept {
  if (bytes > most) return nullptr;
  const std::uint32_t size_class = class_of(bytes);
  {
    const std::lock_guard lock(mutex_);
    if (Kept* const block = classes_[size_class]) {
      remove(block);
      return block;
    }
  }
  const std::size_t size = size_of_class(size_class);
  if (void* const block = map(size)) return block;
  release();
  return map(size);
}

void BlockCache::give(void* block, std::size_t bytes) noexcept {
  const std::uint32_t size_class = class_of(bytes);
  const std::size_t size = size_of_class(size_class);
  if (size > most_bytes_) return unmap(block, size);
  Kept* evicted = nullptr;  // unmapped outside the lock
  {
    const std::lock_guard lock(mutex_);
    while (kept_bytes_ + size > most_bytes_) {
      Kept* const oldest = oldest_;
      remove(oldest);
      oldest->next = evicted;
      evicted = oldest;
    }
    keep(static_cast<Kept*>(block), size_class);
  }
  while (evicted) {
    Kept* const next = evicted->next;
    unmap(evicted, size_of_class(evicted->size_class));
    evicted = next;
  }
}

void BlockCache::release() noexcept {
  const std::lock_guard lock(mutex_);
  while (Kept* const block = oldest_) {
    remove(block);
    unmap(block, size_of_class(block->size_class));
  }
}

std::size_t BlockCache::kept_bytes() const noexcept {
  const std::lock_guard lock(mutex_);
  return kept_bytes_;
}

void BlockCache::keep(Kept* block, std::uint32_t size_class) noexcept {
  Kept*& first = classes_[size_class];
  new (block) Kept{first, nullptr, newest_, nullptr, size_class};
  if (first) first->previous = block;
  first = block;
  if (newest_) newest_->newer = block;
  newest_ = block;
  if (!oldest_) oldest_ = block;
  kept_bytes_ += size_of_class(size_class);
}

void BlockCache::remove(Kept* block) noexcept {
  if (block->next) block->next->previous = block->previous;
  if (block->previous)
    block->previous->next = block->next;
  else
    classes_[block->size_class] = block->next;
  if (block->older)
    block->older->newer = block->newer;
  else
    oldest_ = block->newer;
  if (block->newer)
    block->newer->older = block->older;
  else
    newest_ = block->older;
  kept_bytes_ -= size_of_class(block->size_class);
}

}  // namespace wick
