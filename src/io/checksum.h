#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

namespace wick {

/// 128-bit XXH3 (https://github.com/Cyan4973/xxHash) as 32 hexadecimal digits, in the order that `xxhsum
/// -H128` prints. Finds damage, not forgery.
class Checksum {
 public:
  Checksum();
  ~Checksum();
  Checksum(Checksum&&) noexcept;
  Checksum& operator=(Checksum&&) noexcept;

  void update(std::span<const std::byte> bytes);
  /// Of everything so far.
  std::string hex() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string checksum_of(std::span<const std::byte> bytes);
/// Of a file's content, read in pieces. Throws FileError.
std::string checksum_of_file(const std::filesystem::path& path);

}  // namespace wick
