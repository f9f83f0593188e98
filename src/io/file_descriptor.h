#pragma once

#include <sys/stat.h>

#include <filesystem>

namespace wick {

/// Owns an open file descriptor.
class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) noexcept : fd_(fd) {}
  /// `flags` and `mode` as open(2) takes them; O_CLOEXEC is added. Throws FileError.
  FileDescriptor(const std::filesystem::path& path, int flags, mode_t mode = 0666);
  /// Opens a regular file for reading; FileError for a directory, a pipe or a device.
  static FileDescriptor open_regular(const std::filesystem::path& path);
  ~FileDescriptor();
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  FileDescriptor& operator=(FileDescriptor&&) = delete;

  int get() const noexcept { return fd_; }
  /// Throws FileError, naming `path`.
  struct stat status(const std::filesystem::path& path) const;
  /// Closes now and throws FileError, naming `path`, when the system reports a late write error.
  void close(const std::filesystem::path& path);

 private:
  int fd_;
};

}  // namespace wick
