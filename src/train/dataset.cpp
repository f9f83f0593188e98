#include "wick/dataset.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/counter_random.h"
#include "io/checksum.h"
#include "io/mapped_file.h"
#include "train/dataset_storage.h"
#include "wick/error.h"
#include "wick/tokenizer.h"

namespace wick {
namespace {

using TextReader = void (*)(std::string_view, const std::string&, const TextEncoder&, const DatasetOptions&,
                            DatasetStorage&);

void read_text_file(TextReader read, const TextEncoder& encoder, const DatasetOptions& options,
                    DatasetStorage& storage) {
  const auto file = MappedFile::open(storage.path);
  const std::span<const std::byte> bytes = file->bytes();
  storage.checksum = checksum_of(bytes);
  read({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, storage.path.string(), encoder, options,
       storage);
}

void require_rows(const DatasetStorage& storage) {
  if (!storage.rows.empty()) return;
  const std::string skipped =
      storage.skipped_rows > 0 ? fmt::format(" ({} empty ones)", storage.skipped_rows) : "";
  throw DataError(fmt::format("{}: has no rows to learn from{}", storage.path.string(), skipped));
}

}  // namespace

TextEncoder text_encoder(const Tokenizer& tokenizer) {
  const std::optional<std::int32_t> eos = tokenizer.eos_id();
  if (!eos)
    throw ConfigError(
        "the tokenizer names no end-of-text token, which training must teach the model; set "
        "\"eos_token\" in tokenizer_config.json");
  TextEncoder encoder;
  encoder.encode = [tokenizer](std::string_view text) {
    return tokenizer.encode(text, {.add_special = false, .parse_special = false});
  };
  encoder.eos = *eos;
  // What the tokenizer puts before a prompt must stand before the documents that the model learns from.
  const std::vector<std::int32_t> around_nothing = tokenizer.encode("");
  if (!around_nothing.empty() && (around_nothing.front() != *eos || tokenizer.bos_id() == eos))
    encoder.bos = around_nothing.front();
  return encoder;
}

Dataset::Dataset(std::shared_ptr<const DatasetStorage> storage)
    : storage_(std::move(storage)), rows_(storage_->rows.size()) {
  std::iota(rows_.begin(), rows_.end(), std::size_t{0});
}

Dataset Dataset::load(const std::filesystem::path& file, const TextEncoder& encoder,
                      const DatasetOptions& options) {
  auto storage = std::make_shared<DatasetStorage>();
  storage->path = file;
  const std::filesystem::path extension = file.extension();
  if (extension == ".safetensors") {
    storage->checksum = checksum_of_file(file);
    read_tokenized(file, options, *storage);
  } else if (extension == ".jsonl" || extension == ".txt") {
    if (!encoder.encode) throw ArgumentError(fmt::format("{}: text needs a tokenizer", file.string()));
    read_text_file(extension == ".txt" ? read_txt : read_jsonl, encoder, options, *storage);
  } else {
    throw ArgumentError(fmt::format(
        "{}: the kind of data is told by the extension, which must be .jsonl, .txt or .safetensors",
        file.string()));
  }
  require_rows(*storage);
  return Dataset(std::move(storage));
}

Dataset Dataset::parse_jsonl(std::string_view content, const std::string& name, const TextEncoder& encoder,
                             const DatasetOptions& options) {
  auto storage = std::make_shared<DatasetStorage>();
  storage->path = name;
  storage->checksum = checksum_of(std::as_bytes(std::span(content)));
  read_jsonl(content, name, encoder, options, *storage);
  require_rows(*storage);
  return Dataset(std::move(storage));
}

DatasetRow Dataset::row(std::size_t index) const {
  const DatasetStorage::Row& row = storage_->rows.at(rows_.at(index));
  return {std::span(storage_->ids).subspan(row.begin, row.length),
          std::span(storage_->labels).subspan(row.begin, row.length), row.may_split};
}

std::int64_t Dataset::tokens() const {
  std::int64_t total = 0;
  for (std::size_t row : rows_) total += static_cast<std::int64_t>(storage_->rows[row].length);
  return total;
}

std::int64_t Dataset::skipped_rows() const { return storage_->skipped_rows; }

std::optional<BatchGrid> Dataset::grid() const { return whole_ ? storage_->grid : std::nullopt; }

const std::string& Dataset::checksum() const { return storage_->checksum; }

const std::filesystem::path& Dataset::path() const { return storage_->path; }

std::pair<Dataset, Dataset> Dataset::split(double fraction, std::uint64_t seed) const {
  if (!(fraction > 0 && fraction < 1))
    throw ArgumentError(
        fmt::format("the share of rows for validation must be between 0 and 1, not {}", fraction));
  if (size() < 2)
    throw DataError(
        fmt::format("{}: has one row, which cannot be split into training and validation rows; give "
                    "validation data of its own",
                    path().string()));
  std::vector<std::size_t> drawn(size());
  std::iota(drawn.begin(), drawn.end(), std::size_t{0});
  shuffle(drawn, CounterRandom(seed));
  const auto wanted = static_cast<std::size_t>(std::llround(fraction * static_cast<double>(size())));
  drawn.resize(std::clamp<std::size_t>(wanted, 1, size() - 1));
  std::vector<bool> is_valid(size());
  for (std::size_t row : drawn) is_valid[row] = true;

  std::pair<Dataset, Dataset> parts(*this, *this);
  parts.first.whole_ = parts.second.whole_ = false;
  parts.first.rows_.clear();
  parts.second.rows_.clear();
  for (std::size_t i = 0; i < size(); ++i)
    (is_valid[i] ? parts.second : parts.first).rows_.push_back(rows_[i]);
  return parts;
}

}  // namespace wick
