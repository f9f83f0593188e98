#include "io/tokenizer/bpe.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "io/tokenizer/unicode.h"
#include "wick/error.h"

namespace wick::tokenizer {
namespace {

constexpr std::uint32_t no_symbol = UINT32_MAX;

std::uint64_t pair_key(Id left, Id right) {
  return static_cast<std::uint64_t>(left) << 32 | static_cast<std::uint32_t>(right);
}

/// The two halves of one entry of "merges": "a b", or ["a", "b"].
std::pair<std::string, std::string> read_pair(const Field& merge) {
  if (merge.is_array()) {
    if (merge.size() != 2) merge.malformed("must hold two tokens");
    return {merge.element(0).string(), merge.element(1).string()};
  }
  const std::string& text = merge.string();
  const std::size_t space = text.find(' ');
  if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos) {
    merge.malformed(fmt::format("must be two tokens with one space between them, but is '{}'", text));
  }
  return {text.substr(0, space), text.substr(space + 1)};
}

/// Orders a heap so that the lowest rank, and in it the leftmost position, comes first.
bool comes_later(const Bpe::Candidate& a, const Bpe::Candidate& b) {
  return a.rank != b.rank ? a.rank > b.rank : a.position > b.position;
}

void refuse_text(const Field& model, const char* key) {
  const auto field = model.find(key);
  if (field && !field->string().empty())
    field->unsupported(fmt::format("'{}' is not supported", field->string()));
}

}  // namespace

Bpe Bpe::read(const Field& model, const Vocabulary& vocabulary) {
  const auto dropout = model.find("dropout");
  if (dropout && dropout->number() != 0) dropout->unsupported("other than 0 is not supported");
  refuse_text(model, "continuing_subword_prefix");
  refuse_text(model, "end_of_word_suffix");

  Bpe bpe;
  bpe.fuse_unknown_ = model.boolean_or("fuse_unk", false);
  bpe.ignore_merges_ = model.boolean_or("ignore_merges", false);
  if (const auto unknown = model.find("unk_token")) {
    bpe.has_unknown_ = true;
    bpe.unknown_ = vocabulary.find_in_model(unknown->string());
    bpe.unknown_complaint_ = fmt::format(
        "{}: {} is '{}', which is not in the vocabulary, and the text has a character that needs it.",
        unknown->file(), unknown->path(), unknown->string());
  }
  if (model.boolean_or("byte_fallback", false)) {
    for (int byte = 0; byte < 256; ++byte)
      bpe.byte_tokens_.push_back(vocabulary.find_in_model(fmt::format("<0x{:02X}>", byte)));
  }
  bpe.read_merges(model.at("merges"), vocabulary);
  return bpe;
}

void Bpe::read_merges(const Field& merges, const Vocabulary& vocabulary) {
  const std::size_t count = merges.size();
  merges_.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    const Field merge = merges.element(i);
    if (i == 0 && merge.is_string() && merge.string().starts_with("#version")) continue;
    const auto [left, right] = read_pair(merge);
    const auto id_of = [&](const std::string& token) {
      const auto id = vocabulary.find_in_model(token);
      if (!id) merge.malformed(fmt::format("needs '{}', which the vocabulary lacks", token));
      return *id;
    };
    const Id left_id = id_of(left);
    const Id right_id = id_of(right);
    const Id result = id_of(left + right);
    merges_[pair_key(left_id, right_id)] = {static_cast<std::uint32_t>(i), result};
    if (vocabulary.is_special(result) && left_id != result && right_id != result) {
      special_parts_.try_emplace(result, left_id, right_id);
    }
  }
}

Id Bpe::unknown_id() const {
  if (!unknown_) throw ConfigError(unknown_complaint_);
  return *unknown_;
}

void Bpe::cut(std::string_view word, const Vocabulary& vocabulary, std::vector<Symbol>& symbols) const {
  symbols.clear();
  const auto add = [&](Id id) {
    const auto index = static_cast<std::uint32_t>(symbols.size());
    symbols.push_back({id, index == 0 ? no_symbol : index - 1, index + 1, false, false});
  };
  bool pending = false;  // an unknown token that the next one may join
  for (std::size_t i = 0; i < word.size();) {
    const std::string_view character = word.substr(i, code_point_at(word, i).size);
    i += character.size();
    if (const auto id = vocabulary.find_in_model(character)) {
      if (pending) add(unknown_id());
      pending = false;
      add(*id);
      continue;
    }
    const auto byte_token = [&](char c) { return byte_tokens_[static_cast<std::uint8_t>(c)]; };
    if (!byte_tokens_.empty() &&
        std::all_of(character.begin(), character.end(), [&](char c) { return byte_token(c).has_value(); })) {
      // A pending unknown token stays pending: the reference implementation puts these bytes before it.
      for (const char c : character) add(*byte_token(c));
      continue;
    }
    if (!has_unknown_) continue;
    if (pending && !fuse_unknown_) add(unknown_id());
    pending = true;
  }
  if (pending) add(unknown_id());
  if (!symbols.empty()) symbols.back().next = no_symbol;
}

void Bpe::merge_all(Workspace& workspace) const {
  std::vector<Symbol>& symbols = workspace.symbols;
  std::vector<Candidate>& heap = workspace.heap;
  heap.clear();
  const auto find = [&](std::uint32_t left) -> const Merge* {
    const std::uint32_t right = symbols[left].next;
    if (right == no_symbol) return nullptr;
    const auto it = merges_.find(pair_key(symbols[left].id, symbols[right].id));
    return it == merges_.end() ? nullptr : &it->second;
  };
  const auto push = [&](std::uint32_t left) {
    const Merge* const merge = find(left);
    if (merge == nullptr) return;
    heap.push_back({merge->rank, left, merge->result});
    std::push_heap(heap.begin(), heap.end(), comes_later);
  };
  for (std::uint32_t i = 0; i < symbols.size(); ++i) push(i);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), comes_later);
    const Candidate top = heap.back();
    heap.pop_back();
    Symbol& left = symbols[top.position];
    if (left.is_gone) continue;
    const Merge* const merge = find(top.position);
    if (merge == nullptr || merge->result != top.result) continue;  // a neighbour has changed since
    Symbol& right = symbols[left.next];
    left.id = top.result;
    left.is_merged = true;
    left.next = right.next;
    right.is_gone = true;
    if (left.next != no_symbol) symbols[left.next].previous = top.position;
    if (left.previous != no_symbol) push(left.previous);
    push(top.position);
  }
}

/// What a special token was merged from, when only text spelled it. Parts are shorter than what they make, so
/// this ends after at most as many steps as the token has characters.
void Bpe::append_parts(Id special, std::vector<Id>& out) const {
  std::vector<Id> open{special};
  while (!open.empty()) {
    const Id part = open.back();
    open.pop_back();
    const auto it = special_parts_.find(part);
    if (it == special_parts_.end()) {
      out.push_back(part);
    } else {
      open.push_back(it->second.second);
      open.push_back(it->second.first);
    }
  }
}

void Bpe::encode(std::string_view word, const Vocabulary& vocabulary, bool allow_special,
                 Workspace& workspace, std::vector<Id>& out) const {
  if (ignore_merges_) {
    const auto id = vocabulary.find_in_model(word);
    if (id && (allow_special || !vocabulary.is_special(*id))) {
      out.push_back(*id);
      return;
    }
  }
  if (word.size() > std::numeric_limits<std::int32_t>::max()) {
    throw ArgumentError(
        fmt::format("A stretch of {} bytes without a split is too long to tokenize.", word.size()));
  }
  cut(word, vocabulary, workspace.symbols);
  merge_all(workspace);
  for (const Symbol& symbol : workspace.symbols) {
    if (symbol.is_gone) continue;
    if (symbol.is_merged && !allow_special && vocabulary.is_special(symbol.id)) {
      append_parts(symbol.id, out);
    } else {
      out.push_back(symbol.id);
    }
  }
}

}  // namespace wick::tokenizer
