#include "io/atomic_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "io/system_error.h"
#include "wick/error.h"

namespace wick {
namespace {

std::filesystem::path directory_of(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
}

/// Creates a file beside `path` that nobody else has, and stores its name. Names that a killed process left
/// are passed over.
FileDescriptor create_temporary(const std::filesystem::path& path, std::filesystem::path& temporary) {
  static std::atomic<unsigned> counter{0};
  while (true) {
    const std::string name = fmt::format(".{}.tmp-{}-{}", path.filename().string(), ::getpid(), counter++);
    temporary = directory_of(path) / name;
    const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd >= 0) return FileDescriptor(fd);
    if (errno != EEXIST) throw_file_error("write", path, errno);
  }
}

/// The path, if a rename may replace what is there. A device, pipe or socket is not a file's old content.
std::filesystem::path replaceable(std::filesystem::path path) {
  std::error_code error;
  const auto status = std::filesystem::symlink_status(path, error);
  if (std::filesystem::exists(status) && std::filesystem::is_other(status))
    throw FileError(
        fmt::format("cannot write '{}': it is not a regular file; choose another path", path.string()));
  return path;
}

/// The process in a temporary file's name, or nothing for any other name.
std::optional<pid_t> writer_of(const std::string& name) {
  static constexpr std::string_view mark = ".tmp-";
  const std::size_t at = name.rfind(mark);
  if (name.empty() || name[0] != '.' || at == std::string::npos || at < 2) return std::nullopt;
  const char* const end = name.data() + name.size();
  pid_t process = 0;
  unsigned number = 0;
  const auto dash = std::from_chars(name.data() + at + mark.size(), end, process);
  if (dash.ec != std::errc() || dash.ptr == end || *dash.ptr != '-' || process <= 0) return std::nullopt;
  const auto last = std::from_chars(dash.ptr + 1, end, number);
  if (last.ec != std::errc() || last.ptr != end) return std::nullopt;
  return process;
}

bool is_running(pid_t process) { return ::kill(process, 0) == 0 || errno != ESRCH; }

}  // namespace

AtomicFile::AtomicFile(std::filesystem::path path)
    : path_(replaceable(std::move(path))), file_(create_temporary(path_, temporary_)) {}

AtomicFile::~AtomicFile() {
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(file_.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) throw_file_error("write", path_, errno);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

void AtomicFile::commit() {
  if (::fsync(file_.get()) != 0) throw_file_error("write", path_, errno);
  file_.close(path_);
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) throw_file_error("replace", path_, errno);
  temporary_.clear();
  sync_directory(directory_of(path_));
}

void remove_stale_temporaries(const std::filesystem::path& directory) {
  try {
    if (!std::filesystem::exists(directory)) return;
    std::vector<std::filesystem::path> stale;
    for (const auto& entry : std::filesystem::directory_iterator(directory)) {
      const auto process = writer_of(entry.path().filename().string());
      if (process && entry.symlink_status().type() == std::filesystem::file_type::regular &&
          (*process == ::getpid() || !is_running(*process)))
        stale.push_back(entry.path());
    }
    for (const std::filesystem::path& path : stale) std::filesystem::remove(path);
  } catch (const std::filesystem::filesystem_error& e) {
    throw FileError(fmt::format("cannot clean up {}: {}", directory.string(), e.code().message()));
  }
}

void write_file_atomically(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  AtomicFile file(path);
  file.write(bytes);
  file.commit();
}

void write_file_atomically(const std::filesystem::path& path, std::string_view text) {
  write_file_atomically(path, std::as_bytes(std::span(text)));
}

void sync_directory(const std::filesystem::path& directory) {
  const FileDescriptor handle(directory, O_RDONLY | O_DIRECTORY);
  if (::fsync(handle.get()) != 0) throw_file_error("flush the directory", directory, errno);
}

}  // namespace wick
