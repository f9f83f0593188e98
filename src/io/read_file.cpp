#include "io/read_file.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>

#include "io/file_descriptor.h"
#include "io/system_error.h"
#include "wick/error.h"

namespace wick {

std::string read_file(const std::filesystem::path& path, std::size_t max_bytes) {
  const FileDescriptor file = FileDescriptor::open_regular(path);
  const auto size = static_cast<std::size_t>(file.status(path).st_size);
  if (size > max_bytes) {
    throw FormatError(fmt::format("{}: has {} bytes, more than the {} that a file of its kind may have",
                                  path.string(), size, max_bytes));
  }
  std::string content(size, '\0');
  std::size_t filled = 0;
  while (filled < size) {
    const ssize_t got = ::read(file.get(), content.data() + filled, size - filled);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw_file_error("read", path, errno);
    if (got == 0) break;  // it became shorter meanwhile
    filled += static_cast<std::size_t>(got);
  }
  content.resize(filled);
  return content;
}

}  // namespace wick
