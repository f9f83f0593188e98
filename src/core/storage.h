#pragma once

#include <atomic>
#include <cstddef>
#include <memory>

#include "core/packed_copies.h"
#include "wick/device.h"

namespace wick {

/// A block of device memory, or a view of memory that somebody else owns.
class Storage {
 public:
  using Free = void (*)(void* data, std::size_t bytes) noexcept;

  /// Owns `data` and releases it with `free`.
  Storage(void* data, std::size_t bytes, Free free) : data_(data), bytes_(bytes), free_(free) {}
  /// Read-only view, kept alive by `owner`.
  Storage(const void* data, std::size_t bytes, std::shared_ptr<const void> owner)
      : data_(const_cast<void*>(data)), bytes_(bytes), owner_(std::move(owner)) {}
  ~Storage() {
    delete copies_.load(std::memory_order_acquire);
    if (free_) free_(data_, bytes_);
  }
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  std::byte* data() const noexcept { return static_cast<std::byte*>(data_); }
  std::size_t bytes() const noexcept { return bytes_; }
  bool writable() const noexcept { return free_ != nullptr; }

  /// Whether these bytes are a weight's: many evaluations will read them, so packed copies are worth their
  /// memory.
  bool is_weight() const noexcept { return is_weight_.load(std::memory_order_relaxed); }
  void mark_weight() noexcept { is_weight_.store(true, std::memory_order_relaxed); }
  PackedCopies& packed_copies() {
    PackedCopies* copies = copies_.load(std::memory_order_acquire);
    if (copies) return *copies;
    auto made = std::make_unique<PackedCopies>();
    if (copies_.compare_exchange_strong(copies, made.get())) copies = made.release();
    return *copies;
  }
  /// To be called before the bytes are overwritten, when nobody else uses them: what was made of them goes,
  /// and they are a weight's no longer.
  void forget_contents() noexcept {
    is_weight_.store(false, std::memory_order_relaxed);
    delete copies_.exchange(nullptr);
  }

  /// Evaluations in flight announce the references that they will drop without reading through them again.
  void announce_release() noexcept { releasing_.fetch_add(1, std::memory_order_relaxed); }
  /// To be called before an announced reference goes: `held_once` must never take a reader's reference for an
  /// announced one.
  void withdraw_announcement() noexcept { releasing_.fetch_sub(1, std::memory_order_release); }
  /// Whether all references but one are announced.
  static bool held_once(const std::shared_ptr<Storage>& storage) noexcept {
    const long count = storage.use_count();
    std::atomic_thread_fence(std::memory_order_acquire);
    return count - storage->releasing_.load(std::memory_order_relaxed) == 1;
  }

 private:
  void* data_;
  std::size_t bytes_;
  Free free_ = nullptr;
  std::atomic<long> releasing_{0};
  std::atomic<bool> is_weight_{false};
  std::atomic<PackedCopies*> copies_{nullptr};
  std::shared_ptr<const void> owner_;
};

}  // namespace wick
