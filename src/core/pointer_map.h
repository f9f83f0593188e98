#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace wick {

/// A hash map from pointers to 32-bit indices, by open addressing; only what graph walks need. Allocates with
/// the first entry.
class PointerMap {
 public:
  static constexpr std::uint32_t absent = ~std::uint32_t{0};

  std::uint32_t find(const void* key) const noexcept {
    if (slots_.empty()) return absent;
    for (std::size_t i = slot(key);; i = (i + 1) & (slots_.size() - 1)) {
      if (slots_[i].key == key) return slots_[i].index;
      if (slots_[i].key == nullptr) return absent;
    }
  }
  /// Inserts, or overwrites.
  void set(const void* key, std::uint32_t index) {
    if ((used_ + 1) * 2 > slots_.size()) grow();
    if (place(key, index)) ++used_;
  }

 private:
  struct Slot {
    const void* key = nullptr;
    std::uint32_t index = 0;
  };
  static constexpr std::size_t initial = 64;

  std::size_t slot(const void* key) const noexcept {
    auto bits = reinterpret_cast<std::uintptr_t>(key) >> 4;
    bits *= 0x9E3779B97F4A7C15u;
    return static_cast<std::size_t>(bits >> 32) & (slots_.size() - 1);
  }
  bool place(const void* key, std::uint32_t index) noexcept {
    for (std::size_t i = slot(key);; i = (i + 1) & (slots_.size() - 1)) {
      if (slots_[i].key == key) {
        slots_[i].index = index;
        return false;
      }
      if (slots_[i].key == nullptr) {
        slots_[i] = {key, index};
        return true;
      }
    }
  }
  void grow() {
    std::vector<Slot> old(std::max(initial, slots_.size() * 2));
    old.swap(slots_);
    for (const Slot& s : old)
      if (s.key) place(s.key, s.index);
  }

  std::vector<Slot> slots_;
  std::size_t used_ = 0;
};

}  // namespace wick
