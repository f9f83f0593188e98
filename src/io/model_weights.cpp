#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "io/json.h"
#include "io/json_field.h"
#include "io/printable.h"
#include "io/safetensors_header.h"
#include "io/system_error.h"
#include "wick/error.h"
#include "wick/safetensors.h"

namespace wick {
namespace {

namespace fs = std::filesystem;

constexpr const char* single_name = "model.safetensors";
constexpr const char* index_name = "model.safetensors.index.json";
constexpr std::size_t max_index_bytes = std::size_t{64} << 20;
constexpr std::size_t max_listed = 20;

bool is_there(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

/// `path` without links; the error of a path that cannot be followed.
fs::path resolve(const fs::path& path) {
  std::error_code error;
  fs::path resolved = fs::canonical(path, error);
  if (error) throw_file_error("open", path, error.value());
  return resolved;
}

bool lies_in(const fs::path& path, const fs::path& directory) {
  return std::mismatch(directory.begin(), directory.end(), path.begin(), path.end()).first == directory.end();
}

/// Whether a resolved shard may be opened for this resolved directory. A Hugging Face cache keeps
/// <model>/snapshots/<revision>/ full of links into <model>/blobs/.
bool may_open(const fs::path& shard, const fs::path& directory) {
  if (lies_in(shard, directory)) return true;
  const fs::path snapshots = directory.parent_path();
  return snapshots.filename() == "snapshots" && lies_in(shard, snapshots.parent_path() / "blobs");
}

/// The names of the index, or what is wrong with one.
void check_shard_name(const std::string& name, const JsonField& field) {
  const fs::path path(name);
  const bool climbs = std::find(path.begin(), path.end(), "..") != path.end();
  if (path.filename().empty() || path.filename() == "." || name.find('\0') != name.npos ||
      path.is_absolute() || climbs) {
    field.refuse(fmt::format("must name a file inside the model's directory, not '{}'", printable(name)));
  }
}

using TensorsByShard = std::map<std::string, std::vector<std::string>>;

TensorsByShard read_index(const fs::path& index) {
  const JsonField root(read_json_file(index, max_index_bytes), index.string(),
                       JsonField::throw_as<FormatError>);
  TensorsByShard shards;
  for (const auto& [tensor, field] : root.at("weight_map").members()) {
    check_shard_name(field.string(), field);
    shards[field.string()].push_back(tensor);
  }
  if (shards.empty()) root.at("weight_map").refuse("names no tensor");
  return shards;
}

/// Throws FormatError with the lines, the first of them when there are many.
void refuse_if_any(const std::vector<std::string>& lines, const fs::path& index, std::string_view what) {
  if (lines.empty()) return;
  std::string message = fmt::format("{}: {}:", index.string(), what);
  for (std::size_t i = 0; i < std::min(lines.size(), max_listed); ++i) message += "\n  " + lines[i];
  if (lines.size() > max_listed) message += fmt::format("\n  and {} more", lines.size() - max_listed);
  throw FormatError(message);
}

fs::path locate_shard(const fs::path& directory, const std::string& name, const fs::path& index) {
  const fs::path shard = resolve(directory / name);
  if (!may_open(shard, resolve(directory))) {
    throw FormatError(fmt::format("{}: shard '{}' is a link that leads out of the model's directory, to '{}'",
                                  index.string(), printable(name), shard.string()));
  }
  return directory / name;
}

}  // namespace

Safetensors open_model_weights(const fs::path& directory) {
  if (is_there(directory / single_name)) return Safetensors::open(directory / single_name);
  const fs::path index = directory / index_name;
  if (!is_there(index)) {
    if (!is_there(directory)) throw_file_error("open the model directory", directory, ENOENT);
    throw FileError(fmt::format(
        "'{}' has neither {} nor {}; weights in other formats must be converted to safetensors first",
        directory.string(), single_name, index_name));
  }

  const TensorsByShard shards = read_index(index);
  std::vector<std::string> missing_shards;
  for (const auto& [shard, tensors] : shards) {
    if (!is_there(directory / shard)) missing_shards.push_back(printable(shard));
  }
  refuse_if_any(missing_shards, index, "these shards are missing");

  std::vector<TensorInfo> tensors;
  std::map<std::string, std::string> metadata;
  std::vector<std::string> missing_tensors;
  for (const auto& [name, promised] : shards) {
    Safetensors shard = Safetensors::open(locate_shard(directory, name, index));
    for (const std::string& tensor : promised) {
      if (!shard.contains(tensor))
        missing_tensors.push_back(fmt::format("{} ({})", printable(tensor), printable(name)));
    }
    metadata.merge(std::move(shard.metadata_));
    std::move(shard.tensors_.begin(), shard.tensors_.end(), std::back_inserter(tensors));
  }
  refuse_if_any(missing_tensors, index, "these tensors are not in the shards that should have them");
  sort_by_name(tensors, index.string());
  return Safetensors(directory, std::move(tensors), std::move(metadata));
}

}  // namespace wick
