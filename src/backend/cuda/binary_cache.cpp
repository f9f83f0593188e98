#include "backend/cuda/binary_cache.h"

#include <cstdlib>
#include <filesystem>
#include <span>

#include "io/atomic_file.h"
#include "io/checksum.h"
#include "io/read_file.h"
#include "wick/error.h"

namespace wick::cuda {
namespace {

constexpr std::size_t most_bytes = std::size_t{64} << 20;
constexpr std::size_t checksum_digits = 32;

std::string checksum_of_text(std::string_view text) { return checksum_of(std::as_bytes(std::span(text))); }

/// Empty when there is none.
std::filesystem::path directory() {
  const auto variable = [](const char* name) -> std::string {
    const char* value = std::getenv(name);
    return value ? value : "";
  };
  const std::string chosen = variable("WICK_KERNEL_CACHE");
  if (chosen == "off") return {};
  if (!chosen.empty()) return chosen;
  if (const std::string cache = variable("XDG_CACHE_HOME"); !cache.empty())
    return std::filesystem::path(cache) / "wick" / "kernels";
  const std::string home = variable("HOME");
  return home.empty() ? std::filesystem::path() : std::filesystem::path(home) / ".cache" / "wick" / "kernels";
}

std::filesystem::path file_in(const std::filesystem::path& folder, std::string_view made_from) {
  return folder / (checksum_of_text(made_from) + ".cubin");
}

}  // namespace

std::optional<std::string> read_cached_binary(std::string_view made_from) {
  const std::filesystem::path folder = directory();
  if (folder.empty()) return std::nullopt;
  try {
    std::string content = read_file(file_in(folder, made_from), most_bytes);
    if (content.size() <= checksum_digits) return std::nullopt;
    const std::string_view binary = std::string_view(content).substr(checksum_digits);
    if (content.compare(0, checksum_digits, checksum_of_text(binary)) != 0) return std::nullopt;
    return content.substr(checksum_digits);
  } catch (const Error&) {
    return std::nullopt;
  }
}

void write_cached_binary(std::string_view made_from, std::string_view binary) noexcept {
  try {
    const std::filesystem::path folder = directory();
    if (folder.empty()) return;
    std::filesystem::create_directories(folder);
    AtomicFile file(file_in(folder, made_from));
    file.write(checksum_of_text(binary));
    file.write(binary);
    file.commit();
  } catch (const std::exception&) {
    return;  // the next process compiles again
  }
}

}  // namespace wick::cuda
