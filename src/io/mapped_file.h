#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>

namespace wick {

/// A regular file's content, mapped read-only. When the file is shortened while it is mapped, reading what
/// was lost raises SIGBUS (`exit_when_a_mapped_file_shrinks` in wick/safetensors.h turns that into a
/// message).
class MappedFile {
 public:
  /// Throws FileError.
  static std::shared_ptr<const MappedFile> open(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const noexcept { return bytes_; }

 private:
  MappedFile() = default;
  std::span<const std::byte> bytes_;
  int slot_ = -1;  // in the table that the signal handler reads
};

}  // namespace wick
