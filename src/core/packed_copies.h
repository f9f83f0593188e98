#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace wick {

class Storage;

/// Parts of one block of memory in the forms that kernels want them in, kept beside it. They live as long as
/// the block, and until it is overwritten. Thread-safe.
class PackedCopies {
 public:
  PackedCopies() = default;
  ~PackedCopies();
  PackedCopies(const PackedCopies&) = delete;
  PackedCopies& operator=(const PackedCopies&) = delete;

  /// The form `format` of what begins at byte `offset`, or null. `asked` counts this question and those
  /// before.
  std::shared_ptr<Storage> find(std::int64_t offset, const std::string& format, int& asked);
  /// Keeps one more, unless somebody did so meanwhile or all copies together would exceed the limit.
  void keep(std::int64_t offset, const std::string& format, std::shared_ptr<Storage> copy);

  /// Bytes of all packed copies of the process, and what they may be at most.
  static std::uint64_t total_bytes() noexcept;
  static std::uint64_t limit() noexcept;
  static void set_limit(std::uint64_t bytes) noexcept;

 private:
  struct Entry {
    std::int64_t offset = 0;
    std::string format;
    int asked = 0;
    std::shared_ptr<Storage> copy;
  };
  Entry& entry(std::int64_t offset, const std::string& format);

  std::mutex mutex_;
  std::vector<Entry> entries_;
};

}  // namespace wick
