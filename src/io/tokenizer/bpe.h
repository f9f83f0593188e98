#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "io/tokenizer/field.h"
#include "io/tokenizer/vocabulary.h"

namespace wick::tokenizer {

/// Byte pair encoding (Sennrich et al., https://arxiv.org/abs/1508.07909): a word is cut into characters, and
/// the pair of neighbours whose merge stands first in the list is joined until none is left.
class Bpe {
 public:
  /// Reads the "model" object, whose vocabulary `vocabulary` already holds.
  static Bpe read(const Field& model, const Vocabulary& vocabulary);

  /// A token of the word being encoded, in a list linked by index.
  struct Symbol {
    Id id;
    std::uint32_t previous;
    std::uint32_t next;
    bool is_merged;  // made by a merge, not cut from the text
    bool is_gone;    // joined to the symbol on its left
  };
  /// A pair that may be merged: its left symbol, and what it gives.
  struct Candidate {
    std::uint32_t rank;
    std::uint32_t position;
    Id result;
  };
  /// Scratch memory of one call of encode.
  struct Workspace {
    std::vector<Symbol> symbols;
    std::vector<Candidate> heap;
  };

  /// Appends the ids of `word`, in O(n log n). Only with `allow_special` may a word give the id of a special
  /// token of more than one character. Throws ArgumentError above 2 GiB, ConfigError for an unknown character
  /// where the file's unk_token has no id.
  void encode(std::string_view word, const Vocabulary& vocabulary, bool allow_special, Workspace& workspace,
              std::vector<Id>& out) const;

 private:
  struct Merge {
    std::uint32_t rank;
    Id result;
  };

  void read_merges(const Field& merges, const Vocabulary& vocabulary);
  void cut(std::string_view word, const Vocabulary& vocabulary, std::vector<Symbol>& symbols) const;
  void merge_all(Workspace& workspace) const;
  void append_parts(Id special, std::vector<Id>& out) const;
  Id unknown_id() const;

  struct PairHash {
    std::size_t operator()(std::uint64_t key) const {
      key ^= key >> 32;
      key *= 0x9E3779B97F4A7C15u;
      return static_cast<std::size_t>(key ^ key >> 29);
    }
  };
  std::unordered_map<std::uint64_t, Merge, PairHash> merges_;
  /// What each special token that a merge makes was merged from.
  std::unordered_map<Id, std::pair<Id, Id>> special_parts_;
  std::vector<std::optional<Id>> byte_tokens_;  // <0x00> ... <0xFF>, or empty without byte_fallback
  bool has_unknown_ = false;
  std::optional<Id> unknown_;
  std::string unknown_complaint_;
  bool fuse_unknown_ = false;
  bool ignore_merges_ = false;
};

}  // namespace wick::tokenizer
