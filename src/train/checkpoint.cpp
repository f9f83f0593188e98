#include "train/checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "io/atomic_file.h"
#include "io/checksum.h"
#include "io/read_file.h"
#include "wick/error.h"

namespace wick {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view step_prefix = "step-";
constexpr std::string_view incoming_prefix = ".incoming-";
constexpr std::string_view outgoing_prefix = ".outgoing-";
constexpr const char* manifest_name = "manifest.txt";
constexpr std::size_t checksum_digits = 32;
constexpr std::size_t largest_manifest = 1 << 20;

std::string directory_name(std::int64_t step) { return fmt::format("{}{:06}", step_prefix, step); }

std::optional<std::int64_t> step_of(const std::string& name) {
  if (!name.starts_with(step_prefix)) return {};
  std::int64_t step = 0;
  std::from_chars(name.data() + step_prefix.size(), name.data() + name.size(), step);
  if (name != directory_name(step)) return {};
  return step;
}

/// Runs `f`, with the library's file system errors as FileError.
template <typename F>
auto with_file_errors(const char* what, const fs::path& path, F f) {
  try {
    return f();
  } catch (const fs::filesystem_error& e) {
    throw FileError(fmt::format("cannot {} {}: {}", what, path.string(), e.code().message()));
  }
}

std::string manifest_line(const std::string& checksum, const std::string& name) {
  return checksum + "  " + name + "\n";
}

std::string checksum_of_text(std::string_view text) { return checksum_of(std::as_bytes(std::span(text))); }

/// A line for each file, and one for these lines.
std::string make_manifest(const fs::path& directory) {
  std::map<std::string, std::string> checksums;
  for (const auto& entry : fs::directory_iterator(directory))
    checksums[entry.path().filename().string()] = checksum_of_file(entry.path());
  std::string text;
  for (const auto& [name, checksum] : checksums) text += manifest_line(checksum, name);
  return text + manifest_line(checksum_of_text(text), manifest_name);
}

struct ManifestEntry {
  std::string checksum;
  std::string name;
};

std::optional<ManifestEntry> parse_line(std::string_view line) {
  if (line.size() < checksum_digits + 3 || line.substr(checksum_digits, 2) != "  ") return {};
  return ManifestEntry{std::string(line.substr(0, checksum_digits)),
                       std::string(line.substr(checksum_digits + 2))};
}

std::vector<ManifestEntry> read_manifest(const fs::path& file) {
  const FormatError damaged(
      fmt::format("{} is damaged: it is not the manifest that was written", file.string()));
  if (!fs::exists(file))
    throw FormatError(fmt::format("{} is missing: the checkpoint is not complete", file.string()));
  const std::string text = read_file(file, largest_manifest);
  std::vector<ManifestEntry> entries;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = text.find('\n', begin);
    if (end == std::string::npos) throw damaged;
    const auto entry = parse_line(std::string_view(text).substr(begin, end - begin));
    if (!entry || entry->name.find('/') != std::string::npos) throw damaged;
    if (entry->name == manifest_name) {
      if (end + 1 != text.size() ||
          checksum_of_text(std::string_view(text).substr(0, begin)) != entry->checksum)
        throw damaged;
      return entries;
    }
    entries.push_back(*entry);
    begin = end + 1;
  }
  throw damaged;
}

void verify_directory(const fs::path& directory) {
  for (const ManifestEntry& entry : read_manifest(directory / manifest_name)) {
    const fs::path file = directory / entry.name;
    if (!fs::exists(file))
      throw FormatError(fmt::format("{} is missing: the checkpoint is not complete", file.string()));
    if (checksum_of_file(file) != entry.checksum)
      throw FormatError(
          fmt::format("{} is damaged: its checksum is not the one that was written with it", file.string()));
  }
}

}  // namespace

CheckpointStore::CheckpointStore(fs::path root) : root_(std::move(root)) {
  with_file_errors("clean up", root_, [this] { remove_leftovers(); });
}

void CheckpointStore::remove_leftovers() const {
  if (!fs::exists(root_)) return;
  std::vector<fs::path> leftovers;
  for (const auto& entry : fs::directory_iterator(root_)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(incoming_prefix) || name.starts_with(outgoing_prefix))
      leftovers.push_back(entry.path());
  }
  for (const fs::path& path : leftovers) fs::remove_all(path);
}

std::vector<std::int64_t> CheckpointStore::steps() const {
  return with_file_errors("list", root_, [this] {
    std::vector<std::int64_t> steps;
    if (!fs::exists(root_)) return steps;
    for (const auto& entry : fs::directory_iterator(root_))
      if (const auto step = step_of(entry.path().filename().string()); step && entry.is_directory())
        steps.push_back(*step);
    std::sort(steps.begin(), steps.end());
    return steps;
  });
}

fs::path CheckpointStore::path(std::int64_t step) const { return root_ / directory_name(step); }

void CheckpointStore::save(std::int64_t step, const std::function<void(const fs::path&)>& write_files) {
  const fs::path final_path = path(step);
  const fs::path incoming = root_ / (std::string(incoming_prefix) + directory_name(step));
  try {
    with_file_errors("write the checkpoint", final_path, [&] {
      fs::remove_all(incoming);
      fs::create_directories(incoming);
      write_files(incoming);
      write_file_atomically(incoming / manifest_name, make_manifest(incoming));
      sync_directory(incoming);
      fs::rename(incoming, final_path);
    });
  } catch (...) {
    std::error_code ignored;
    fs::remove_all(incoming, ignored);
    throw;
  }
  sync_directory(root_);
}

void CheckpointStore::verify(std::int64_t step) const {
  try {
    verify_directory(path(step));
  } catch (const FormatError& e) {
    const auto intact = newest_intact_before(step);
    throw FormatError(intact ? fmt::format("{}. {} is intact: remove {} to continue from there", e.what(),
                                           path(*intact).string(), path(step).string())
                             : fmt::format("{}. No older checkpoint is intact", e.what()));
  }
}

std::optional<std::int64_t> CheckpointStore::newest_intact_before(std::int64_t step) const {
  std::vector<std::int64_t> older = steps();
  std::erase_if(older, [step](std::int64_t s) { return s >= step; });
  for (; !older.empty(); older.pop_back()) {
    try {
      verify_directory(path(older.back()));
      return older.back();
    } catch (const FormatError&) {  // an older one may do
    }
  }
  return {};
}

void CheckpointStore::keep_newest(std::int64_t count) {
  const std::vector<std::int64_t> all = steps();
  const auto removed = std::max<std::int64_t>(0, static_cast<std::int64_t>(all.size()) - count);
  for (std::int64_t i = 0; i < removed; ++i) {
    // Renamed first: a directory called step-... is complete also while others are being removed.
    const fs::path old = path(all[static_cast<std::size_t>(i)]);
    const fs::path outgoing = root_ / fmt::format("{}{}", outgoing_prefix, old.filename().string());
    with_file_errors("remove the old checkpoint", old, [&] {
      fs::rename(old, outgoing);
      fs::remove_all(outgoing);
    });
  }
}

}  // namespace wick
