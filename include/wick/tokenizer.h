#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace wick {

namespace tokenizer {
struct Parts;
}

struct EncodeOptions {
  /// Put the post-processor's tokens (<s>, ...) around the text.
  bool add_special = true;
  /// Text that spells a special token becomes that token. Off, it is ordinary text and never gives its id.
  bool parse_special = false;
};

/// A BPE tokenizer read from a Hugging Face `tokenizer.json`: byte-level (GPT-2, Llama 3, Qwen) or
/// SentencePiece-style (Llama 2, Mistral). Gives the ids and the text that the `tokenizers` library gives.
/// Padding and truncation settings of the file are not applied.
///
/// A cheap value: copies share one immutable state. All members are const and safe to call from any thread.
///
/// Loading throws FileError when a file cannot be read, FormatError when its content is malformed, and
/// ConfigError when it asks for something that is not supported; each names the file and the field.
class Tokenizer {
 public:
  /// Reads one tokenizer.json. bos_id and eos_id stay unset: no field of that file names them.
  static Tokenizer from_file(const std::filesystem::path& path);

  /// Reads `model_dir`/tokenizer.json, and bos and eos from the files beside it: the tokens named by
  /// tokenizer_config.json or special_tokens_map.json, else the ids of generation_config.json or config.json.
  static Tokenizer from_directory(const std::filesystem::path& model_dir);

  /// Reads the content of a tokenizer.json; `name` stands for the file in messages.
  static Tokenizer from_json(std::string_view json, std::string_view name = "tokenizer.json");

  /// Ids of `text`, which must be valid UTF-8 (NUL is a character like any other); empty text gives the
  /// post-processor's tokens alone. Non-special added tokens are always matched.
  /// Throws ArgumentError that states the byte offset for invalid UTF-8 or above 1 GiB, ConfigError where one
  /// of the file's regular expressions needs too many steps on this text.
  std::vector<std::int32_t> encode(std::string_view text, EncodeOptions options = {}) const;

  /// Text of `ids`. Bytes that form no valid UTF-8 become U+FFFD; ids that have no token (a model's
  /// vocabulary may be padded) give nothing. Throws ArgumentError for a negative id.
  std::string decode(std::span<const std::int32_t> ids, bool skip_special = true) const;

  /// Highest id + 1. A model's embedding may have more rows than that.
  std::int32_t vocab_size() const;
  std::optional<std::int32_t> token_to_id(std::string_view token) const;
  /// The token as the file spells it (byte-level alphabet, U+2581 for a space), or nullopt.
  std::optional<std::string> id_to_token(std::int32_t id) const;
  bool is_special(std::int32_t id) const;

  std::optional<std::int32_t> bos_id() const;
  /// The token that ends a text, which training appends.
  std::optional<std::int32_t> eos_id() const;
  /// Every id that ends a generation, ascending; holds eos_id() where that is set.
  const std::vector<std::int32_t>& eos_ids() const;

 private:
  friend class StreamDecoder;
  explicit Tokenizer(std::shared_ptr<const tokenizer::Parts> parts);
  std::shared_ptr<const tokenizer::Parts> parts_;
};

/// Decodes ids one at a time. The pieces, flush() included, joined give exactly Tokenizer::decode of all the
/// ids. A piece never holds part of a UTF-8 character. Runs of byte-fallback tokens (<0x0A>) come out when
/// the run ends, because one invalid byte changes how the whole run reads. Not for use from two threads at
/// once. Keeps the tokenizer's state alive.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer, bool skip_special = true);
  ~StreamDecoder();
  StreamDecoder(StreamDecoder&&) noexcept;
  StreamDecoder& operator=(StreamDecoder&&) noexcept;

  /// The text that `id` completes, often empty. Throws ArgumentError for a negative id.
  std::string push(std::int32_t id);
  /// The rest of the text (an incomplete character becomes U+FFFD). Afterwards a new text may begin.
  std::string flush();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace wick
