#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <vector>

namespace wick {

/// The checkpoints of one training run, one directory each: <root>/step-000123. A checkpoint is written under
/// another name, synced to the disk and renamed, so that a directory with this name is complete, whatever
/// happens; and it ends with a manifest of checksums, so that damage shows. Not thread-safe; whoever uses it
/// holds the lock of the run's output directory.
class CheckpointStore {
 public:
  /// Removes what interrupted saves left behind. The directory need not exist.
  explicit CheckpointStore(std::filesystem::path root);

  /// Steps of the complete checkpoints, ascending.
  std::vector<std::int64_t> steps() const;
  std::filesystem::path path(std::int64_t step) const;

  /// Writes the checkpoint of `step`: calls `write_files` with an empty directory, adds the manifest, and
  /// makes it the newest. Throws FileError; then the store is as before.
  void save(std::int64_t step, const std::function<void(const std::filesystem::path&)>& write_files);
  /// Throws FormatError that names the file that was changed, is missing or does not belong, and which older
  /// checkpoint is intact.
  void verify(std::int64_t step) const;
  /// Removes all but the `count` newest.
  void keep_newest(std::int64_t count);

 private:
  void remove_leftovers() const;
  std::optional<std::int64_t> newest_intact_before(std::int64_t step) const;

  std::filesystem::path root_;
};

}  // namespace wick
