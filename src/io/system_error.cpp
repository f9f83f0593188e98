#include "io/system_error.h"

#include <fmt/format.h>

#include <system_error>

#include "wick/error.h"

namespace wick {

void throw_file_error(std::string_view action, const std::filesystem::path& path, int error_number) {
  throw FileError(fmt::format("cannot {} '{}': {}", action, path.string(),
                              std::generic_category().message(error_number)));
}

}  // namespace wick
