#pragma once

#include <filesystem>
#include <string_view>

namespace wick {

/// Throws FileError "cannot <action> <path>: <text of errno>".
[[noreturn]] void throw_file_error(std::string_view action, const std::filesystem::path& path,
                                   int error_number);

}  // namespace wick
