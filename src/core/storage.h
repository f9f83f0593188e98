#pragma once

#include <cstddef>
#include <memory>

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
    if (free_) free_(data_, bytes_);
  }
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  std::byte* data() const noexcept { return static_cast<std::byte*>(data_); }
  std::size_t bytes() const noexcept { return bytes_; }
  bool writable() const noexcept { return free_ != nullptr; }

 private:
  void* data_;
  std::size_t bytes_;
  Free free_ = nullptr;
  std::shared_ptr<const void> owner_;
};

}  // namespace wick
