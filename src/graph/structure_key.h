#pragma once

#include <algorithm>
#include <cstring>
#include <string>

#include "graph/walk.h"

namespace wick {

/// Appends values' bytes to a text that is compared, not read; grows it by whole nodes, not by values.
class KeyWriter {
 public:
  explicit KeyWriter(std::string& key) : key_(key), used_(key.size()) {}
  /// Makes room for `bytes` more.
  void reserve(std::size_t bytes) {
    if (used_ + bytes > key_.size()) key_.resize(std::max(used_ + bytes, key_.size() * 2));
  }
  template <typename T>
  void put(const T& value) {
    put(&value, sizeof(T));
  }
  void put(Device device) {
    put(device.kind);
    put(device.index);
  }
  void put(const void* bytes, std::size_t count) {
    if (count == 0) return;  // there may be no address then
    std::memcpy(key_.data() + used_, bytes, count);
    used_ += count;
  }
  void finish() { key_.resize(used_); }

 private:
  std::string& key_;
  std::size_t used_;
};

/// What else of a node is structure, put behind it by the user: at most this many bytes, for which there is
/// room.
constexpr std::size_t key_bytes_beside = 40;

/// Puts what identifies position i of a walk: of a leaf its dtype, device, shape and strides, of others the
/// op, attributes and inputs. Never the data.
void put_structure(KeyWriter& key, const Walk& walk, std::size_t i);

}  // namespace wick
