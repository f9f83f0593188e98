#pragma once

#include <cstddef>
#include <filesystem>
#include <string>

namespace wick {

/// The content of a regular file. Throws FileError, or FormatError when it has more than `max_bytes`.
std::string read_file(const std::filesystem::path& path, std::size_t max_bytes);

}  // namespace wick
