#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "io/file_descriptor.h"

namespace wick {

/// A file that appears whole or not at all: written under a temporary name (".<name>.tmp-<process>-<number>")
/// in the same directory, flushed to the disk, then renamed over the path. Unless `commit` returned, the path
/// keeps its old content and the temporary file is removed (a killed process leaves it; nothing reads it, and
/// `remove_stale_temporaries` removes it).
/// Every member throws FileError that names the path and the system's reason.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }
  /// Makes the content durable and visible under the path. Nothing may be written after it.
  void commit();

 private:
  std::filesystem::path path_;
  std::filesystem::path temporary_;  // empty once renamed
  FileDescriptor file_;
};

/// Removes temporary files in `directory` whose process is gone, or has this one's number. For a directory in
/// which nobody else writes now (see DirectoryLock). It need not exist. Throws FileError.
void remove_stale_temporaries(const std::filesystem::path& directory);

/// The whole content of a file at once.
void write_file_atomically(const std::filesystem::path& path, std::span<const std::byte> bytes);
void write_file_atomically(const std::filesystem::path& path, std::string_view text);

/// Flushes a directory, so that files created, renamed or removed in it stay so after a crash.
void sync_directory(const std::filesystem::path& directory);

}  // namespace wick
