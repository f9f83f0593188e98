#include "io/tokenizer/added_tokens.h"

#include <fmt/format.h>

#include <algorithm>

#include "io/tokenizer/unicode.h"

namespace wick::tokenizer {
namespace {

/// A search costs up to this much per byte of text.
constexpr std::size_t max_token_bytes = 1024;

}  // namespace

const std::uint32_t* Trie::child(const Node& node, std::uint8_t byte) const {
  const auto it = std::lower_bound(node.children.begin(), node.children.end(), byte,
                                   [](const auto& entry, std::uint8_t b) { return entry.first < b; });
  return it != node.children.end() && it->first == byte ? &it->second : nullptr;
}

bool Trie::insert(std::string_view key, std::size_t value) {
  begins_[static_cast<std::uint8_t>(key[0])] = true;
  std::uint32_t at = 0;
  for (const char c : key) {
    const auto byte = static_cast<std::uint8_t>(c);
    if (const std::uint32_t* const next = child(nodes_[at], byte)) {
      at = *next;
      continue;
    }
    const auto fresh = static_cast<std::uint32_t>(nodes_.size());
    auto& children = nodes_[at].children;
    children.insert(std::lower_bound(children.begin(), children.end(), std::pair{byte, std::uint32_t{0}}),
                    {byte, fresh});
    nodes_.emplace_back();
    at = fresh;
  }
  if (nodes_[at].value) return false;
  nodes_[at].value = value;
  return true;
}

std::optional<std::pair<std::size_t, std::size_t>> Trie::longest_at(std::string_view text,
                                                                    std::size_t offset) const {
  if (!begins_[static_cast<std::uint8_t>(text[offset])]) return std::nullopt;
  std::optional<std::pair<std::size_t, std::size_t>> longest;
  std::uint32_t at = 0;
  for (std::size_t i = offset; i < text.size(); ++i) {
    const std::uint32_t* const next = child(nodes_[at], static_cast<std::uint8_t>(text[i]));
    if (next == nullptr) break;
    at = *next;
    if (nodes_[at].value) longest.emplace(i + 1 - offset, *nodes_[at].value);
  }
  return longest;
}

AddedTokens AddedTokens::read(const std::optional<Field>& field, const Steps<Normalizer>& normalizers,
                              Vocabulary& vocabulary) {
  AddedTokens added;
  if (!field) return added;
  const std::vector<Field> elements = field->elements();
  const Id bound = vocabulary.id_bound(elements.size());
  for (const Field& element : elements) {
    const Field content_field = element.at("content");
    const std::string& content = content_field.string();
    if (content.size() > max_token_bytes) {
      content_field.unsupported(fmt::format("is longer than {} bytes", max_token_bytes));
    }
    const Field id_field = element.at("id");
    const auto id = static_cast<Id>(id_field.integer(0, bound));
    vocabulary.add(content, id, id_field);
    const bool special = element.boolean_or("special", false);
    if (special) vocabulary.mark_special(id);
    const bool normalized = element.boolean_or("normalized", !special);
    Stretch key{content, false};
    if (normalized) normalize(normalizers, key);
    if (key.text != content) added.normalized_forms_.emplace(id, key.text);
    if (key.text.empty()) continue;  // can stand in no text
    Trie& trie = normalized ? added.normalized_ : added.raw_;
    if (!trie.insert(key.text, added.tokens_.size())) {
      content_field.malformed(fmt::format("'{}' matches the same text as another added token", content));
    }
    added.tokens_.push_back({id, special, element.boolean_or("single_word", false),
                             element.boolean_or("lstrip", false), element.boolean_or("rstrip", false)});
  }
  return added;
}

std::vector<AddedTokens::Part> AddedTokens::split(const Trie& trie, std::string_view text,
                                                  bool parse_special) const {
  std::vector<Part> parts;
  std::size_t done = 0;  // end of the last part
  for (std::size_t i = trie.empty() ? text.size() : 0; i < text.size();) {
    const auto match = trie.longest_at(text, i);
    if (!match) {
      ++i;
      continue;
    }
    std::size_t begin = i;
    std::size_t end = i + match->first;
    i = end;  // what a discarded match covers is not searched again
    const Token& token = tokens_[match->second];
    if (token.special && !parse_special) continue;
    if (token.single_word && ((begin > 0 && is_word(code_point_before(text, begin).value)) ||
                              (end < text.size() && is_word(code_point_at(text, end).value)))) {
      continue;
    }
    while (token.strip_left && begin > done) {
      const CodePoint c = code_point_before(text, begin);
      if (!is_whitespace(c.value)) break;
      begin -= c.size;
    }
    // Behind a token that took the spaces on its right, this one may lie within what is done.
    if (token.strip_left) begin = std::max(begin, done);
    while (token.strip_right && end < text.size()) {
      const CodePoint c = code_point_at(text, end);
      if (!is_whitespace(c.value)) break;
      end += c.size;
    }
    if (done < begin) parts.push_back({done, begin, std::nullopt});
    if (begin < end) parts.push_back({begin, end, token.id});
    done = end;
  }
  if (done < text.size()) parts.push_back({done, text.size(), std::nullopt});
  return parts;
}

std::vector<AddedTokens::Part> AddedTokens::split_raw(std::string_view text, bool parse_special) const {
  return split(raw_, text, parse_special);
}

std::vector<AddedTokens::Part> AddedTokens::split_normalized(std::string_view text,
                                                             bool parse_special) const {
  return split(normalized_, text, parse_special);
}

const std::string* AddedTokens::normalized_form(Id id) const {
  const auto it = normalized_forms_.find(id);
  return it == normalized_forms_.end() ? nullptr : &it->second;
}

}  // namespace wick::tokenizer
