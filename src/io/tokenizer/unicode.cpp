#include "io/tokenizer/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <vector>

#include "wick/error.h"

namespace wick::tokenizer {
namespace {

std::uint8_t byte_at(std::string_view text, std::size_t i) { return static_cast<std::uint8_t>(text[i]); }

/// Bytes of a character by its first byte; 0 where none begins so.
std::size_t length_from_first(std::uint8_t first) {
  if (first < 0x80) return 1;
  if (first < 0xC2) return 0;
  if (first < 0xE0) return 2;
  if (first < 0xF0) return 3;
  return first < 0xF5 ? 4 : 0;
}

/// Whether `second` may follow `first` (Unicode table 3-7).
bool valid_second(std::uint8_t first, std::uint8_t second) {
  const std::uint8_t low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
  const std::uint8_t high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
  return second >= low && second <= high;
}

utf8proc_category_t category(char32_t c) { return utf8proc_category(static_cast<utf8proc_int32_t>(c)); }

bool is_between(char32_t c, char32_t first, char32_t last) { return c >= first && c <= last; }

int combining_class(utf8proc_int32_t c) { return utf8proc_get_property(c)->combining_class; }

/// Stable sort of each run of combining marks by class. utf8proc's own is quadratic in the length of a run.
void order_marks(std::vector<utf8proc_int32_t>& points) {
  for (std::size_t i = 0; i < points.size(); ++i) {
    if (combining_class(points[i]) == 0) continue;
    std::size_t end = i + 1;
    while (end < points.size() && combining_class(points[end]) != 0) ++end;
    if (end - i > 1) {
      std::stable_sort(points.begin() + static_cast<std::ptrdiff_t>(i),
                       points.begin() + static_cast<std::ptrdiff_t>(end),
                       [](auto a, auto b) { return combining_class(a) < combining_class(b); });
    }
    i = end;
  }
}

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<std::uint8_t>(c) < 0x80; });
}

}  // namespace

Utf8Prefix scan_utf8(std::string_view bytes) {
  const std::uint8_t first = byte_at(bytes, 0);
  const std::size_t length = length_from_first(first);
  if (length == 0) return {Utf8Prefix::Kind::invalid, 1};
  for (std::size_t i = 1; i < length; ++i) {
    if (i == bytes.size()) return {Utf8Prefix::Kind::incomplete, i};
    const bool valid = i == 1 ? valid_second(first, byte_at(bytes, 1)) : (byte_at(bytes, i) & 0xC0) == 0x80;
    if (!valid) return {Utf8Prefix::Kind::invalid, i};
  }
  return {Utf8Prefix::Kind::character, length};
}

std::optional<std::size_t> find_invalid_utf8(std::string_view text) {
  std::size_t offset = 0;
  while (offset < text.size()) {
    const Utf8Prefix prefix = scan_utf8(text.substr(offset, 4));
    if (prefix.kind != Utf8Prefix::Kind::character) return offset;
    offset += prefix.size;
  }
  return std::nullopt;
}

CodePoint code_point_at(std::string_view text, std::size_t offset) {
  const std::uint8_t first = byte_at(text, offset);
  const std::size_t size = length_from_first(first);
  if (size <= 1) return {first, 1};
  char32_t value = first & (0x7Fu >> size);
  for (std::size_t i = 1; i < size; ++i) value = value << 6 | (byte_at(text, offset + i) & 0x3Fu);
  return {value, size};
}

CodePoint code_point_before(std::string_view text, std::size_t end) {
  std::size_t start = end - 1;
  while (start > 0 && (byte_at(text, start) & 0xC0) == 0x80) --start;
  return code_point_at(text, start);
}

void append_utf8(std::string& out, char32_t value) {
  std::array<utf8proc_uint8_t, 4> bytes{};
  const auto size = utf8proc_encode_char(static_cast<utf8proc_int32_t>(value), bytes.data());
  out.append(reinterpret_cast<const char*>(bytes.data()), static_cast<std::size_t>(size));
}

bool is_whitespace(char32_t c) {
  return is_between(c, 0x9, 0xD) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         is_between(c, 0x2000, 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

bool is_numeric(char32_t c) {
  const auto k = category(c);
  return k == UTF8PROC_CATEGORY_ND || k == UTF8PROC_CATEGORY_NL || k == UTF8PROC_CATEGORY_NO;
}

bool is_punctuation(char32_t c) {
  if (c < 0x80)
    return is_between(c, '!', '/') || is_between(c, ':', '@') || is_between(c, '[', '`') ||
           is_between(c, '{', '~');
  const auto k = category(c);
  return k >= UTF8PROC_CATEGORY_PC && k <= UTF8PROC_CATEGORY_PO;
}

bool is_word(char32_t c) {
  const auto k = category(c);
  if (k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO) return true;
  if (k >= UTF8PROC_CATEGORY_MN && k <= UTF8PROC_CATEGORY_ME) return true;
  if (k == UTF8PROC_CATEGORY_ND || k == UTF8PROC_CATEGORY_NL || k == UTF8PROC_CATEGORY_PC) return true;
  // Other_Alphabetic outside the categories above (circled and squared letters), and Join_Control.
  return is_between(c, 0x24B6, 0x24E9) || is_between(c, 0x1F130, 0x1F149) ||
         is_between(c, 0x1F150, 0x1F169) || is_between(c, 0x1F170, 0x1F189) || c == 0x200C || c == 0x200D;
}

std::string normalize(std::string_view text, NormalForm form) {
  if (is_ascii(text)) return std::string(text);
  const bool compatibility = form == NormalForm::nfkc || form == NormalForm::nfkd;
  const bool compose = form == NormalForm::nfc || form == NormalForm::nfkc;
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE |
                                                      (compatibility ? UTF8PROC_COMPAT : 0));
  std::vector<utf8proc_int32_t> points;
  points.reserve(text.size());
  std::array<utf8proc_int32_t, 32> expansion{};  // the longest decomposition (U+FDFA) has 18
  int boundary = 0;
  for (std::size_t i = 0; i < text.size();) {
    const CodePoint c = code_point_at(text, i);
    i += c.size;
    const auto count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c.value), expansion.data(),
                                               expansion.size(), options, &boundary);
    if (count < 0 || count > static_cast<utf8proc_ssize_t>(expansion.size())) {
      throw InternalError("Unicode normalization refused a valid character.");
    }
    points.insert(points.end(), expansion.begin(), expansion.begin() + count);
  }
  order_marks(points);
  if (compose) {
    const auto composed =
        utf8proc_normalize_utf32(points.data(), static_cast<utf8proc_ssize_t>(points.size()),
                                 static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE |
                                                                (compatibility ? UTF8PROC_COMPAT : 0)));
    points.resize(static_cast<std::size_t>(composed));
  }
  std::string out;
  out.reserve(text.size());
  for (const auto point : points) append_utf8(out, static_cast<char32_t>(point));
  return out;
}

std::string lowercase(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const CodePoint c = code_point_at(text, i);
    i += c.size;
    if (c.value == 0x130) {  // the one unconditional expansion of SpecialCasing.txt
      out += "i\xCC\x87";
    } else {
      append_utf8(out, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c.value))));
    }
  }
  return out;
}

}  // namespace wick::tokenizer
