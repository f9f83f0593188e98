#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "io/tokenizer/field.h"

namespace wick::tokenizer {

/// A part of a text, either a match or what lies between matches.
struct Span {
  std::size_t begin;
  std::size_t end;
  bool is_match;
};

/// What Split and Replace look for: a literal string or a regular expression. Immutable, usable from any
/// thread.
class Pattern {
 public:
  /// Reads {"String": ...} or {"Regex": ...}.
  static Pattern read(const Field& field);
  /// `regex` in tokenizer.json's syntax; `where` is named in errors.
  static Pattern regex(std::string_view regex, const Field& where);

  Pattern(Pattern&&) noexcept;
  Pattern& operator=(Pattern&&) noexcept;
  ~Pattern();

  /// Covers each of the texts it is given by spans in order. Holds the scratch memory and the step budget of
  /// one call of encode or decode: what a regular expression may do is linear in the bytes that it was given.
  class Search {
   public:
    explicit Search(const Pattern& pattern);
    ~Search();
    Search(const Search&) = delete;
    Search& operator=(const Search&) = delete;
    /// `text` is valid UTF-8. Throws ConfigError when the regular expression exceeds its budget.
    void spans(std::string_view text, std::vector<Span>& out);

   private:
    struct State;
    bool find(std::string_view text, std::size_t from, Span& match);
    bool find_regex(std::string_view text, std::size_t from, Span& match);
    std::unique_ptr<State> state_;
  };

  /// Longest factor by which putting `content` for each match can lengthen a text.
  double growth(std::string_view content) const;

  /// `text` with `content` in place of each match. Where `moves_start` is given it becomes true when the
  /// first character of the result no longer comes from the first of `text`.
  std::string replace(std::string_view text, std::string_view content, bool* moves_start = nullptr) const;

 private:
  struct Code;
  explicit Pattern(std::unique_ptr<const Code> code);
  std::unique_ptr<const Code> code_;
};

}  // namespace wick::tokenizer
