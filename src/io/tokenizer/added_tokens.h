#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "io/tokenizer/field.h"
#include "io/tokenizer/normalizer.h"
#include "io/tokenizer/vocabulary.h"

namespace wick::tokenizer {

/// Byte strings with ids, found leftmost and longest first.
class Trie {
 public:
  /// Returns false where `key` is there already.
  bool insert(std::string_view key, std::size_t value);
  /// Longest key that `text` holds at `offset`: its length and value.
  std::optional<std::pair<std::size_t, std::size_t>> longest_at(std::string_view text,
                                                                std::size_t offset) const;
  bool empty() const { return nodes_.size() == 1; }

 private:
  struct Node {
    std::vector<std::pair<std::uint8_t, std::uint32_t>> children;  // sorted by byte
    std::optional<std::size_t> value;
  };
  const std::uint32_t* child(const Node& node, std::uint8_t byte) const;
  std::vector<Node> nodes_ = std::vector<Node>(1);
  std::array<bool, 256> begins_{};
};

/// The tokens of "added_tokens", which are cut out of a text before the model sees it.
class AddedTokens {
 public:
  /// Reads the list, adds its tokens to `vocabulary` and marks the special ones.
  static AddedTokens read(const std::optional<Field>& field, const Steps<Normalizer>& normalizers,
                          Vocabulary& vocabulary);

  /// A stretch of text without added tokens, or one added token.
  struct Part {
    std::size_t begin;
    std::size_t end;
    std::optional<Id> id;
  };
  /// Cuts `text` at the tokens that match text as the user wrote it.
  std::vector<Part> split_raw(std::string_view text, bool parse_special) const;
  /// Cuts `text`, which is normalized, at the tokens that match normalized text.
  std::vector<Part> split_normalized(std::string_view text, bool parse_special) const;

  /// What the decoders get for `id` instead of its content, where that is normalized before it is matched;
  /// else null.
  const std::string* normalized_form(Id id) const;

 private:
  struct Token {
    Id id;
    bool special;
    bool single_word;
    bool strip_left;
    bool strip_right;
  };
  std::vector<Part> split(const Trie& trie, std::string_view text, bool parse_special) const;

  std::vector<Token> tokens_;
  Trie raw_;
  Trie normalized_;
  std::unordered_map<Id, std::string> normalized_forms_;
};

}  // namespace wick::tokenizer
