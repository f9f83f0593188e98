#pragma once

#include <filesystem>
#include <string>

namespace wick::cli {

/// Copies tokenizer.json and its companions, those that are there. Throws FileError.
void copy_tokenizer_files(const std::filesystem::path& from, const std::filesystem::path& to);

/// Throws ArgumentError naming `flag` when the directory holds a model already: nothing is overwritten.
void require_new_directory(const std::string& flag, const std::filesystem::path& directory);

}  // namespace wick::cli
