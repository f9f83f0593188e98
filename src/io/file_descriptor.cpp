#include "io/file_descriptor.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>

#include "io/system_error.h"
#include "wick/error.h"

namespace wick {
namespace {

std::string_view action_of(int flags) { return (flags & O_ACCMODE) == O_RDONLY ? "open" : "write"; }

}  // namespace

FileDescriptor::FileDescriptor(const std::filesystem::path& path, int flags, mode_t mode)
    : fd_(::open(path.c_str(), flags | O_CLOEXEC, mode)) {
  if (fd_ < 0) throw_file_error(action_of(flags), path, errno);
}

FileDescriptor FileDescriptor::open_regular(const std::filesystem::path& path) {
  // Without O_NONBLOCK, opening a pipe would wait for its writer.
  FileDescriptor file(path, O_RDONLY | O_NONBLOCK);
  if (!S_ISREG(file.status(path).st_mode)) {
    throw FileError(fmt::format("cannot read '{}': it is not a regular file", path.string()));
  }
  return file;
}

FileDescriptor::~FileDescriptor() {
  if (fd_ >= 0) ::close(fd_);
}

struct stat FileDescriptor::status(const std::filesystem::path& path) const {
  struct stat status {};
  if (::fstat(fd_, &status) != 0) throw_file_error("read the size of", path, errno);
  return status;
}

void FileDescriptor::close(const std::filesystem::path& path) {
  const int fd = fd_;
  fd_ = -1;
  if (::close(fd) != 0) throw_file_error("write", path, errno);
}

}  // namespace wick
