#include "io/file_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>

#include "io/system_error.h"
#include "wick/error.h"

namespace wick {
namespace {

std::filesystem::path lock_file_of(const std::filesystem::path& directory) {
  return directory / ".wick.lock";
}

/// What the holder wrote about itself; its text is only shown, so anything printable will do.
std::string read_holder(int fd) {
  std::array<char, 200> buffer{};
  const ssize_t length = ::pread(fd, buffer.data(), buffer.size(), 0);
  std::string holder;
  for (ssize_t i = 0; i < length; ++i) {
    const char c = buffer[static_cast<std::size_t>(i)];
    if (c >= ' ' && c <= '~') holder += c;
  }
  return holder.empty() ? "another process" : holder;
}

std::string describe_this_process() {
  std::array<char, 128> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0) return fmt::format("process {}", ::getpid());
  return fmt::format("process {} on {}", ::getpid(), host.data());
}

}  // namespace

DirectoryLock::DirectoryLock(const std::filesystem::path& directory)
    : file_(lock_file_of(directory), O_RDWR | O_CREAT | O_NOFOLLOW) {
  const std::filesystem::path path = lock_file_of(directory);
  while (::flock(file_.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    if (errno != EWOULDBLOCK) throw_file_error("lock", path, errno);
    throw FileError(fmt::format("'{}' is in use by {}; wait until it has ended, or use another directory",
                                directory.string(), read_holder(file_.get())));
  }
  const std::string holder = describe_this_process();
  const bool written = ::ftruncate(file_.get(), 0) == 0 && ::pwrite(file_.get(), holder.data(), holder.size(),
                                                                    0) == static_cast<ssize_t>(holder.size());
  if (!written) throw_file_error("write", path, errno);
}

}  // namespace wick
