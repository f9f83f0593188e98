#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

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

  /// Whether all references but one are announced (see AnnouncedReleases). Between the end of an announcement
  /// and that of its reference, the reference looks like a reader's: a "no" is one only when no release was
  /// under way while it was found.
  static bool held_once(const std::shared_ptr<Storage>& storage) noexcept {
    if (const auto once = settled_held_once(storage)) return *once;
    // Long enough for a thread that lost its core meanwhile; not for ever, because what a release frees may
    // call a user's code, which may wait for this thread.
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(1);
    do {
      std::this_thread::yield();
      if (const auto once = settled_held_once(storage)) return *once;
    } while (std::chrono::steady_clock::now() < end);
    return false;
  }

 private:
  friend class AnnouncedReleases;

  /// Nothing when a release was under way meanwhile.
  static std::optional<bool> settled_held_once(const std::shared_ptr<Storage>& storage) noexcept {
    const std::uint64_t ended = releases_ended_.load(std::memory_order_acquire);
    const long count = storage.use_count();
    std::atomic_thread_fence(std::memory_order_acquire);
    if (count - storage->releasing_.load(std::memory_order_acquire) == 1) return true;
    if (releases_begun_.load(std::memory_order_acquire) == ended) return false;
    return std::nullopt;
  }

  static inline std::atomic<std::uint64_t> releases_begun_{0};
  static inline std::atomic<std::uint64_t> releases_ended_{0};

  void* data_;
  std::size_t bytes_;
  Free free_ = nullptr;
  std::atomic<long> releasing_{0};
  std::atomic<bool> is_weight_{false};
  std::atomic<PackedCopies*> copies_{nullptr};
  std::shared_ptr<const void> owner_;
};

/// References that somebody (an evaluation in flight) holds, will drop, and does not read through again: who
/// asks whether a storage is held once does not count them.
class AnnouncedReleases {
 public:
  AnnouncedReleases() = default;
  AnnouncedReleases(const AnnouncedReleases&) = delete;
  AnnouncedReleases& operator=(const AnnouncedReleases&) = delete;
  ~AnnouncedReleases() {
    withdraw([] {});
  }

  void announce(Storage& storage) {
    storages_.push_back(&storage);
    storage.releasing_.fetch_add(1, std::memory_order_relaxed);
  }
  /// Ends the announcements, then calls `drop`, which drops the references: none must be taken for announced
  /// after it is gone, for then a reader's would be.
  template <typename F>
  void withdraw(const F& drop) noexcept {
    if (storages_.empty()) return drop();  // touches nothing that all threads share
    Storage::releases_begun_.fetch_add(1, std::memory_order_acq_rel);
    for (Storage* storage : storages_) storage->releasing_.fetch_sub(1, std::memory_order_release);
    storages_.clear();
    drop();
    Storage::releases_ended_.fetch_add(1, std::memory_order_acq_rel);
  }

 private:
  std::vector<Storage*> storages_;
};

}  // namespace wick
