#include "cli/model_files.h"

#include <fmt/format.h>

#include "wick/error.h"

namespace wick::cli {

void copy_tokenizer_files(const std::filesystem::path& from, const std::filesystem::path& to) {
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
                           "generation_config.json", "chat_template.jinja"}) {
    if (!std::filesystem::exists(from / name)) continue;
    std::error_code error;
    std::filesystem::copy_file(from / name, to / name, std::filesystem::copy_options::overwrite_existing,
                               error);
    if (error)
      throw FileError(
          fmt::format("cannot copy {} to {}: {}", (from / name).string(), to.string(), error.message()));
  }
}

void require_new_directory(const std::string& flag, const std::filesystem::path& directory) {
  if (std::filesystem::exists(directory / "model.safetensors") ||
      std::filesystem::exists(directory / "config.json"))
    throw ArgumentError(
        fmt::format("{}: {} holds a model already; choose another directory", flag, directory.string()));
}

}  // namespace wick::cli
