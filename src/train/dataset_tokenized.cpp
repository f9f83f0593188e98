#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "train/dataset_storage.h"
#include "wick/error.h"
#include "wick/safetensors.h"

namespace wick {
namespace {

/// An integer tensor, read element by element; its bytes may be unaligned.
class Integers {
 public:
  Integers(const TensorInfo& tensor, const std::string& file)
      : bytes_(tensor.bytes), wide_(tensor.dtype == DType::i64) {
    if (tensor.dtype != DType::i64 && tensor.dtype != DType::i32)
      throw DataError(
          fmt::format("{}: {} must be i64 or i32, not {}", file, tensor.name, name_of(tensor.dtype)));
  }
  std::int64_t operator[](std::size_t index) const {
    return wide_ ? read<std::int64_t>(index) : std::int64_t{read<std::int32_t>(index)};
  }

 private:
  template <typename T>
  T read(std::size_t index) const {
    T value;
    std::memcpy(&value, bytes_.data() + index * sizeof(T), sizeof(T));
    return value;
  }

  std::span<const std::byte> bytes_;
  bool wide_;
};

std::optional<Integers> find_beside(const Safetensors& file, const TensorInfo& ids, const char* name) {
  const TensorInfo* tensor = file.find(name);
  if (!tensor) return std::nullopt;
  const std::string path = file.path().string();
  if (tensor->shape != ids.shape)
    throw DataError(fmt::format("{}: {} has shape {}, but input_ids has {}", path, name, tensor->shape.str(),
                                ids.shape.str()));
  return Integers(*tensor, path);
}

/// The columns [begin, end) of a row that are not padding.
struct Unpadded {
  std::size_t begin = 0;
  std::size_t end = 0;
};

class TokenizedReader {
 public:
  TokenizedReader(const Safetensors& file, const TensorInfo& ids, const DatasetOptions& options)
      : path_(file.path().string()),
        ids_(ids, path_),
        labels_(find_beside(file, ids, "labels")),
        mask_(find_beside(file, ids, "attention_mask")),
        length_(static_cast<std::size_t>(ids.shape.dim(-1))),
        vocab_size_(options.vocab_size > 0 ? options.vocab_size : std::int64_t{1} << 31) {}

  Unpadded find_tokens(std::size_t row) const {
    if (!mask_) return {0, length_};
    const auto at = [&](std::size_t column) { return (*mask_)[row * length_ + column]; };
    for (std::size_t column = 0; column < length_; ++column)
      if (at(column) != 0 && at(column) != 1)
        fail("attention_mask", row, column, at(column), "must be 0 or 1");
    Unpadded tokens;
    while (tokens.begin < length_ && at(tokens.begin) == 0) ++tokens.begin;
    tokens.end = tokens.begin;
    while (tokens.end < length_ && at(tokens.end) == 1) ++tokens.end;
    const bool on_both_sides = tokens.begin > 0 && tokens.begin < length_ && tokens.end < length_;
    for (std::size_t column = tokens.end; column < length_; ++column)
      if (at(column) != 0 || on_both_sides)
        fail("attention_mask", row, column, at(column),
             "padding must be on the right or on the left of a row, not "
             "on both sides or between tokens");
    return tokens;
  }

  void append(std::size_t row, Unpadded tokens, DatasetStorage& storage) const {
    storage.rows.push_back({storage.ids.size(), tokens.end - tokens.begin, false});
    for (std::size_t column = 0; column < length_; ++column) {
      const bool padding = column < tokens.begin || column >= tokens.end;
      const std::int64_t id = ids_[row * length_ + column];
      const std::int64_t label = labels_ ? (*labels_)[row * length_ + column] : padding ? ignored_label : id;
      if (padding) {
        if (label != ignored_label)
          fail("labels", row, column, label, "must be -100, because attention_mask is 0 there");
        continue;
      }
      if (id < 0 || id >= vocab_size_)
        fail("input_ids", row, column, id, fmt::format("must be from 0 to {}", vocab_size_ - 1));
      if (label != ignored_label && (label < 0 || label >= vocab_size_))
        fail("labels", row, column, label, fmt::format("must be -100 or from 0 to {}", vocab_size_ - 1));
      storage.ids.push_back(static_cast<std::int32_t>(id));
      storage.labels.push_back(static_cast<std::int32_t>(label));
    }
  }

 private:
  [[noreturn]] void fail(const char* tensor, std::size_t row, std::size_t column, std::int64_t value,
                         const std::string& rule) const {
    throw DataError(fmt::format("{}: {} is {} in row {}, column {} (counted from 0), but {}", path_, tensor,
                                value, row, column, rule));
  }

  std::string path_;
  Integers ids_;
  std::optional<Integers> labels_;
  std::optional<Integers> mask_;
  std::size_t length_;
  std::int64_t vocab_size_;
};

}  // namespace

void read_tokenized(const std::filesystem::path& path, const DatasetOptions& options,
                    DatasetStorage& storage) {
  const Safetensors file = Safetensors::open(path);
  const TensorInfo* ids = file.find("input_ids");
  if (!ids) throw DataError(fmt::format("{}: has no tensor input_ids", path.string()));
  const Shape& shape = ids->shape;
  if (shape.rank() != 2 && shape.rank() != 3)
    throw DataError(fmt::format("{}: input_ids must be [rows, length] or [steps, batch, length], not {}",
                                path.string(), shape.str()));
  const TokenizedReader reader(file, *ids, options);
  if (shape.elements() == 0) return;
  if (shape.rank() == 3) storage.grid = BatchGrid{shape.dim(0), shape.dim(1), shape.dim(2)};
  const auto rows = static_cast<std::size_t>(shape.elements() / shape.dim(-1));
  for (std::size_t row = 0; row < rows; ++row) {
    const Unpadded tokens = reader.find_tokens(row);
    // A grid keeps rows of nothing but padding: its rows are found by their number.
    if (tokens.begin == tokens.end && !storage.grid)
      ++storage.skipped_rows;
    else
      reader.append(row, tokens, storage);
  }
}

}  // namespace wick
