#include "wick/tokenizer.h"

#include <fmt/format.h>

#include <cstddef>
#include <utility>

#include "io/tokenizer/parts.h"
#include "io/tokenizer/unicode.h"
#include "wick/error.h"

namespace wick {
namespace {

constexpr std::size_t max_text_bytes = std::size_t{1} << 30;

void check_text(std::string_view text) {
  if (text.size() > max_text_bytes) {
    throw ArgumentError(fmt::format("The text to tokenize has {} bytes; at most {} are taken at once.",
                                    text.size(), max_text_bytes));
  }
  if (const auto offset = tokenizer::find_invalid_utf8(text)) {
    throw ArgumentError(fmt::format("The text to tokenize is not valid UTF-8 at byte {} (0x{:02X}).", *offset,
                                    static_cast<unsigned char>(text[*offset])));
  }
}

/// What the decoders get for `id`, or null where it gives no text.
const std::string* token_to_decode(const tokenizer::Parts& parts, std::int32_t id, bool skip_special) {
  if (id < 0) throw ArgumentError(fmt::format("The token id {} is negative.", id));
  if (!parts.vocabulary.contains(id) || (skip_special && parts.vocabulary.is_special(id))) return nullptr;
  const std::string* const normalized = parts.added_tokens.normalized_form(id);
  return normalized != nullptr ? normalized : &parts.vocabulary.token(id);
}

}  // namespace

Tokenizer::Tokenizer(std::shared_ptr<const tokenizer::Parts> parts) : parts_(std::move(parts)) {}

Tokenizer Tokenizer::from_json(std::string_view json, std::string_view name) {
  const auto root = tokenizer::Field::parse(json, name);
  return Tokenizer(std::make_shared<const tokenizer::Parts>(tokenizer::Parts::read(root)));
}

Tokenizer Tokenizer::from_file(const std::filesystem::path& path) {
  const auto root = tokenizer::Field::parse_file(path);
  return Tokenizer(std::make_shared<const tokenizer::Parts>(tokenizer::Parts::read(root)));
}

Tokenizer Tokenizer::from_directory(const std::filesystem::path& model_dir) {
  const auto root = tokenizer::Field::parse_file(model_dir / "tokenizer.json");
  auto parts = tokenizer::Parts::read(root);
  parts.ends = tokenizer::read_text_ends(model_dir, parts.vocabulary);
  return Tokenizer(std::make_shared<const tokenizer::Parts>(std::move(parts)));
}

std::vector<std::int32_t> Tokenizer::encode(std::string_view text, EncodeOptions options) const {
  check_text(text);
  std::vector<std::int32_t> ids;
  if (options.add_special) ids = parts_->post_processor.before;
  tokenizer::Bpe::Workspace workspace;

  const auto encode_stretch = [&](std::string stretch, bool at_start) {
    const auto pieces = pre_tokenize(parts_->pre_tokenizers, {std::move(stretch), at_start});
    for (const auto& piece : pieces.pieces) {
      parts_->model.encode(pieces.view(piece), parts_->vocabulary, options.parse_special, workspace, ids);
    }
  };
  for (const auto& raw : parts_->added_tokens.split_raw(text, options.parse_special)) {
    if (raw.id) {
      ids.push_back(*raw.id);
      continue;
    }
    tokenizer::Stretch stretch{std::string(text.substr(raw.begin, raw.end - raw.begin)), raw.begin == 0};
    normalize(parts_->normalizers, stretch);
    for (const auto& part : parts_->added_tokens.split_normalized(stretch.text, options.parse_special)) {
      if (part.id) {
        ids.push_back(*part.id);
      } else {
        encode_stretch(stretch.text.substr(part.begin, part.end - part.begin),
                       stretch.at_start && part.begin == 0);
      }
    }
  }
  if (options.add_special) {
    ids.insert(ids.end(), parts_->post_processor.after.begin(), parts_->post_processor.after.end());
  }
  return ids;
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids, bool skip_special) const {
  StreamDecoder stream(*this, skip_special);
  std::string text;
  for (const std::int32_t id : ids) text += stream.push(id);
  text += stream.flush();
  return text;
}

std::int32_t Tokenizer::vocab_size() const { return parts_->vocabulary.size(); }

std::optional<std::int32_t> Tokenizer::token_to_id(std::string_view token) const {
  return parts_->vocabulary.find(token);
}

std::optional<std::string> Tokenizer::id_to_token(std::int32_t id) const {
  if (!parts_->vocabulary.contains(id)) return std::nullopt;
  return parts_->vocabulary.token(id);
}

bool Tokenizer::is_special(std::int32_t id) const { return parts_->vocabulary.is_special(id); }
std::optional<std::int32_t> Tokenizer::bos_id() const { return parts_->ends.bos; }
std::optional<std::int32_t> Tokenizer::eos_id() const { return parts_->ends.eos; }
const std::vector<std::int32_t>& Tokenizer::eos_ids() const { return parts_->ends.all_eos; }

struct StreamDecoder::State {
  std::shared_ptr<const tokenizer::Parts> parts;
  bool skip_special;
  tokenizer::DecodeChain chain;
};

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, bool skip_special)
    : state_(new State{tokenizer.parts_, skip_special, tokenizer::DecodeChain(tokenizer.parts_->decoders)}) {}
StreamDecoder::~StreamDecoder() = default;
StreamDecoder::StreamDecoder(StreamDecoder&&) noexcept = default;
StreamDecoder& StreamDecoder::operator=(StreamDecoder&&) noexcept = default;

std::string StreamDecoder::push(std::int32_t id) {
  std::string text;
  const std::string* const token = token_to_decode(*state_->parts, id, state_->skip_special);
  if (token != nullptr) state_->chain.push(*token, text);
  return text;
}

std::string StreamDecoder::flush() {
  std::string text;
  state_->chain.finish(text);
  state_->chain = tokenizer::DecodeChain(state_->parts->decoders);
  return text;
}

}  // namespace wick
