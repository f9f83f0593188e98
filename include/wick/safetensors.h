#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "wick/dtype.h"
#include "wick/shape.h"

namespace wick {

/// One tensor of a safetensors file. `bytes` are row-major, little-endian and not necessarily aligned to the
/// element size; they are valid as long as `owner` (or the file's `Safetensors`) lives. Pass both to
/// `Tensor::view_of`.
struct TensorInfo {
  std::string name;
  DType dtype = DType::f32;
  Shape shape;
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> owner;
};

/// The tensors of one safetensors file, or of all shards of a model
/// (https://github.com/huggingface/safetensors, "Format").
///
/// Files are mapped read-only, not copied, and validated whole when they are opened: once that succeeded,
/// every `TensorInfo` is consistent. Empty tensors, rank 0, NaN and infinity are legal. Immutable; safe to
/// read from many threads. Another program that shortens a file while it is mapped makes the next access to
/// the lost part a bus error (SIGBUS); see `exit_when_a_mapped_file_shrinks`. Replacing the file by a rename
/// is harmless.
class Safetensors {
 public:
  /// Throws FileError when the file cannot be read; FormatError that names the file and the tensor for a
  /// malformed one, and for element types other than BOOL, U8, I32, I64, F16, BF16, F32, F64.
  static Safetensors open(const std::filesystem::path& file);
  /// The same for a file's content in memory, which is copied; `name` stands for the path in errors.
  static Safetensors parse(std::span<const std::byte> content, const std::string& name);

  /// Sorted by name, which is unique.
  std::span<const TensorInfo> tensors() const noexcept { return tensors_; }
  /// Null when there is none of that name.
  const TensorInfo* find(std::string_view name) const noexcept;
  /// Throws FormatError that names the file and the tensor.
  const TensorInfo& at(std::string_view name) const;
  bool contains(std::string_view name) const noexcept { return find(name) != nullptr; }
  /// The free-form strings of the header ("__metadata__"); those of all shards together for a sharded model.
  const std::map<std::string, std::string>& metadata() const noexcept { return metadata_; }
  /// The file, or the directory of a sharded model.
  const std::filesystem::path& path() const noexcept { return path_; }

 private:
  Safetensors(std::filesystem::path path, std::vector<TensorInfo> tensors,
              std::map<std::string, std::string> metadata)
      : path_(std::move(path)), tensors_(std::move(tensors)), metadata_(std::move(metadata)) {}
  friend Safetensors open_model_weights(const std::filesystem::path& directory);

  std::filesystem::path path_;
  std::vector<TensorInfo> tensors_;
  std::map<std::string, std::string> metadata_;
};

/// Opens the weights of a Hugging Face model directory as one collection: model.safetensors, or else all
/// shards that model.safetensors.index.json names. A shard name that is absolute, has "..", or leads out of
/// the directory through a link is refused, except into the blob folder of a Hugging Face cache. Throws
/// FileError, or FormatError that lists every missing shard and every tensor that the index promises and no
/// shard has.
Safetensors open_model_weights(const std::filesystem::path& directory);

struct TensorToWrite {
  std::string name;
  DType dtype = DType::f32;
  Shape shape;
  std::span<const std::byte> bytes;  ///< row-major; must be as many as dtype and shape need
};

/// Writes a safetensors file byte for byte as the format's own library does: header padded to 8 bytes,
/// tensors ordered by dtype (widest first), then by name. Atomic: the path holds the complete old or the
/// complete new file at every moment, also when the process is killed. Throws ArgumentError for duplicate
/// names or a wrong number of bytes, FileError that names the path when writing fails.
void write_safetensors(const std::filesystem::path& file, std::span<const TensorToWrite> tensors,
                       const std::map<std::string, std::string>& metadata = {{"format", "pt"}});

/// Installs a handler for SIGBUS, for programs (not libraries): when a mapped weight file was shortened by
/// somebody else, it prints one line that names the file and exits with status 1. Other bus errors take the
/// default course.
void exit_when_a_mapped_file_shrinks();

}  // namespace wick
