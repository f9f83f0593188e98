#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace wick {

class Tokenizer;
struct DatasetStorage;

/// Label of a token that is no target of the loss.
inline constexpr std::int32_t ignored_label = -100;

/// How text becomes ids.
struct TextEncoder {
  /// Ids of a text without any special tokens around it.
  std::function<std::vector<std::int32_t>(std::string_view)> encode;
  /// Put before every document, where the model's tokenizer does so.
  std::optional<std::int32_t> bos;
  /// Put after every document, and learned.
  std::int32_t eos = 0;
};

/// The encoder of a model's tokenizer; texts that spell special tokens are text. Throws ConfigError when the
/// tokenizer names no end-of-text token: a model trained without one never stops.
TextEncoder text_encoder(const Tokenizer& tokenizer);

struct DatasetOptions {
  /// Ids must be below it (DataError); 0: not checked.
  std::int64_t vocab_size = 0;
  /// Learn prompts too, not only completions.
  bool loss_on_prompt = false;
};

/// One row: a document, or a prompt and its completion. `labels` are not shifted: labels[i] is ids[i] where
/// that token is to be learned, else ignored_label. The spans live as long as a dataset that shares them.
struct DatasetRow {
  std::span<const std::int32_t> ids;
  std::span<const std::int32_t> labels;
  bool may_split = false;  ///< too long a row may be cut into several; others are truncated
};

/// Batches that a pre-tokenised file prescribes: [steps, batch, length].
struct BatchGrid {
  std::int64_t steps = 0;
  std::int64_t batch = 0;
  std::int64_t length = 0;
};

/// Rows of token ids for training or evaluation, in memory. An immutable value; copies share the rows. Safe
/// to read from many threads.
///
/// By extension of the file:
/// - `.jsonl`: one JSON object a line, with the string "text", or the strings "prompt" and "completion";
/// other keys
///   are ignored. A byte-order mark, CRLF and blank lines are accepted. A "text" that is empty is skipped and
///   counted. Of prompt and completion, only the completion is learned, unless `loss_on_prompt`. The ids of
///   the prompt are those that generation starts from; the completion follows as the tokenizer continues that
///   text or, where it would join characters of both in one token, as it encodes the completion alone.
/// - `.txt`: one document, or several, separated by lines that hold only "<|endoftext|>". Blank lines are
/// text. CRLF
///   becomes LF.
/// - `.safetensors`, already tokenised: `input_ids`, and optionally `labels` (default: the ids) and
/// `attention_mask`
///   (default: 1), i64 or i32, all of one shape, [rows, length] or [steps, batch, length]. The mask is 1 in
///   one run per row, with padding (0) on the right or the left; labels of padding must be -100. Rows lose
///   their padding, and rows without tokens are skipped and counted, except where [steps, batch, length] is
///   taken as it stands.
/// Texts get the encoder's tokens at both ends; the end-of-text token is learned. Tokenised rows are taken as
/// they are.
class Dataset {
 public:
  /// `encode` may be empty for tokenised files. Throws FileError when the file cannot be read; DataError that
  /// names the file and the line, row or tensor for content that cannot be used, and for a file without rows;
  /// ArgumentError for an unknown extension; FormatError for a malformed safetensors file.
  static Dataset load(const std::filesystem::path& file, const TextEncoder& encoder,
                      const DatasetOptions& options = {});
  /// The content of a .jsonl file; `name` stands for the path in errors.
  static Dataset parse_jsonl(std::string_view content, const std::string& name, const TextEncoder& encoder,
                             const DatasetOptions& options = {});

  std::size_t size() const noexcept { return rows_.size(); }
  DatasetRow row(std::size_t index) const;
  /// Of all rows together.
  std::int64_t tokens() const;
  /// Rows of the file that held nothing to learn from.
  std::int64_t skipped_rows() const;
  /// Set for a tokenised file of shape [steps, batch, length]; row s * batch + b is row b of step s.
  std::optional<BatchGrid> grid() const;
  /// XXH3 of the file's bytes, as hexadecimal digits: whether it is still the same file when training
  /// resumes.
  const std::string& checksum() const;
  /// As given to `load`.
  const std::filesystem::path& path() const;

  /// Training and validation rows: `fraction` of the rows, at least one, drawn by `seed`, are the second.
  /// Both keep the order of the file. Throws ArgumentError when `fraction` is not in (0, 1), DataError when
  /// there is only one row.
  std::pair<Dataset, Dataset> split(double fraction, std::uint64_t seed) const;

 private:
  explicit Dataset(std::shared_ptr<const DatasetStorage> storage);

  std::shared_ptr<const DatasetStorage> storage_;
  std::vector<std::size_t> rows_;  // of the storage
  bool whole_ = true;              // no rows were split off
};

}  // namespace wick
