#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace wick::tokenizer {

/// Offset of the first byte that is not part of valid UTF-8 (no overlong forms, surrogates, or values above
/// U+10FFFF), or nullopt.
std::optional<std::size_t> find_invalid_utf8(std::string_view text);

/// What stands at the beginning of a byte string.
struct Utf8Prefix {
  enum class Kind { character, invalid, incomplete };
  Kind kind;
  std::size_t size;  // bytes of the character, of the maximal invalid subpart, or all that is left
};

/// Reads one character, or the maximal subpart that Unicode (chapter 3.9) replaces by one U+FFFD.
/// `incomplete`: `bytes` ends inside a character that may still become valid. `bytes` must not be empty.
Utf8Prefix scan_utf8(std::string_view bytes);

/// U+FFFD in UTF-8.
inline constexpr std::string_view replacement_character = "\xEF\xBF\xBD";

struct CodePoint {
  char32_t value;
  std::size_t size;  // bytes in UTF-8
};

/// The character at `offset` of valid UTF-8.
CodePoint code_point_at(std::string_view text, std::size_t offset);

/// The last character before `end`, which must not be 0.
CodePoint code_point_before(std::string_view text, std::size_t end);

void append_utf8(std::string& out, char32_t value);

bool is_whitespace(char32_t c);   // property White_Space
bool is_numeric(char32_t c);      // categories Nd, Nl, No
bool is_punctuation(char32_t c);  // ASCII punctuation and symbols, categories P*
bool is_word(char32_t c);         // \w of UTS #18: Alphabetic, M, Nd, Pc, Join_Control

enum class NormalForm { nfc, nfd, nfkc, nfkd };

/// Unicode normalization (UAX #15) of valid UTF-8, in O(n log n) for any sequence of combining marks.
std::string normalize(std::string_view text, NormalForm form);

/// Full lowercase mapping of each character without context.
std::string lowercase(std::string_view text);

}  // namespace wick::tokenizer
