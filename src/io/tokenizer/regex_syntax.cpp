#include "io/tokenizer/regex_syntax.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <utility>

#include "io/tokenizer/unicode.h"

namespace wick::tokenizer {
namespace {

/// A class escape: its members as they stand inside brackets, and the escape of all others where one exists.
struct ClassEscape {
  char name;
  std::string_view members;
  std::string_view others;
};

constexpr std::array<ClassEscape, 4> class_escapes{{
    {'s', R"(\p{White_Space})", R"(\P{White_Space})"},
    {'d', R"(\p{Nd})", R"(\P{Nd})"},
    // Oniguruma looks Latin-1 up in a table of its own, which counts superscripts and fractions as word
    // characters.
    {'w', R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\x{B2}\x{B3}\x{B9}\x{BC}-\x{BE})", ""},
    {'h', "0-9A-Fa-f", ""},
}};

constexpr std::array<std::pair<char, std::string_view>, 7> control_escapes{{
    {'t', R"(\t)"},
    {'n', R"(\n)"},
    {'r', R"(\r)"},
    {'f', R"(\f)"},
    {'a', R"(\a)"},
    {'e', R"(\e)"},
    {'v', R"(\x{0B})"},
}};

constexpr std::array<std::string_view, 38> general_categories{
    "L",  "Lu", "Ll", "Lt", "Lm", "Lo", "M",  "Mn", "Mc", "Me", "N",  "Nd", "Nl",
    "No", "P",  "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "S",  "Sm", "Sc", "Sk",
    "So", "Z",  "Zs", "Zl", "Zp", "C",  "Cc", "Cf", "Cs", "Co", "Cn", "Any"};

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

class Translator {
 public:
  Translator(std::string_view pattern, const Field& where) : pattern_(pattern), where_(where) {}

  std::string run() {
    while (!done()) {
      const char c = take();
      switch (c) {
        case '\\': escape(false); break;
        case '[': bracket(); break;
        case '(': open_group(); break;
        case ')':
          out_ += ')';
          if (!at_quantifier()) count_work();
          break;
        case '*':
        case '+':
        case '?':
          out_ += c;
          if (next_is('+') || next_is('?')) out_ += take();
          count_work();
          break;
        case '{': interval(); break;
        default: out_ += c;
      }
    }
    return std::move(out_);
  }

 private:
  bool done() const { return position_ == pattern_.size(); }
  char take() { return pattern_[position_++]; }
  bool next_is(char c) const { return !done() && pattern_[position_] == c; }
  bool rest_starts_with(std::string_view s) const { return pattern_.substr(position_).starts_with(s); }
  void count_work() { out_ += fmt::format("(?C{})", work_callout); }

  bool at_quantifier() const {
    return next_is('*') || next_is('+') || next_is('?') || interval_length().has_value();
  }

  [[noreturn]] void refuse(std::string_view construct) const {
    where_.unsupported(
        fmt::format("holds the regular expression '{}', in which {} is not supported", pattern_, construct));
  }

  /// Length of "{n}", "{n,}" or "{n,m}" at the current position; anything else in braces is literal text.
  std::optional<std::size_t> interval_length() const {
    if (!next_is('{')) return std::nullopt;
    std::size_t i = position_ + 1;
    const auto digits = [&] {
      const std::size_t begin = i;
      while (i < pattern_.size() && is_digit(pattern_[i])) ++i;
      return i - begin;
    };
    if (digits() == 0) return std::nullopt;
    if (i < pattern_.size() && pattern_[i] == ',') {
      ++i;
      digits();
    }
    if (i >= pattern_.size() || pattern_[i] != '}') return std::nullopt;
    return i + 1 - position_;
  }

  void interval() {
    --position_;
    const auto length = interval_length();
    if (!length) {
      if (rest_starts_with("{,")) refuse("'{,n}'");
      ++position_;
      out_ += "\\{";
      return;
    }
    const std::string_view text = pattern_.substr(position_, *length);
    out_ += text;
    position_ += *length;
    if (next_is('+')) refuse("a '+' behind '{n,m}'");
    if (next_is('?')) {
      if (text.find(',') == std::string_view::npos) refuse("a '?' behind '{n}'");
      out_ += take();
    }
    count_work();
  }

  void open_group() {
    out_ += '(';
    if (next_is('*')) refuse("'(*'");
    if (!next_is('?')) return;
    constexpr std::array<std::string_view, 6> plain{"?:", "?=", "?!", "?<=", "?<!", "?>"};
    for (const std::string_view kind : plain) {
      if (!rest_starts_with(kind)) continue;
      out_ += kind;
      position_ += kind.size();
      return;
    }
    inline_options();
  }

  /// "(?i:" and, at the very beginning, "(?i)". What PCRE2 calls s, Ruby calls m.
  void inline_options() {
    const bool leads = position_ == 1;
    out_ += take();
    while (next_is('i') || next_is('m') || next_is('-')) {
      const char option = take();
      out_ += option == 'm' ? 's' : option;
    }
    if (!next_is(':') && !(next_is(')') && leads)) {
      refuse(fmt::format("'(?{}'", pattern_.substr(position_, done() ? 0 : 1)));
    }
    out_ += take();
  }

  void bracket() {
    out_ += '[';
    if (next_is('^')) out_ += take();
    if (next_is(']')) refuse("an empty bracket expression");
    while (!done()) {
      const char c = take();
      if (c == ']') {
        out_ += ']';
        return;
      }
      if (c == '[') refuse("a bracket expression inside another");
      if (c == '&' && next_is('&')) refuse("'&&'");
      if (c == '\\') {
        escape(true);
      } else {
        out_ += c;
      }
    }
    refuse("an unclosed bracket");
  }

  void escape(bool in_bracket) {
    if (done()) refuse("a '\\' at the end");
    const char c = take();
    if (c == 'p' || c == 'P') return property(c);
    if (c == 'x') return hexadecimal();
    if (class_escape(c, in_bracket)) return;
    const auto* const control = std::find_if(control_escapes.begin(), control_escapes.end(),
                                             [&](const auto& entry) { return entry.first == c; });
    if (control != control_escapes.end()) {
      out_ += control->second;
      return;
    }
    if (!in_bracket && (c == 'A' || c == 'z' || c == 'Z')) {
      out_ += '\\';
      out_ += c;
      return;
    }
    if (is_letter(c) || is_digit(c)) refuse(fmt::format("'\\{}'", c));
    if (static_cast<unsigned char>(c) < 0x80) out_ += '\\';
    out_ += c;
  }

  bool class_escape(char c, bool in_bracket) {
    for (const ClassEscape& escape : class_escapes) {
      const bool negated = c == escape.name - 'a' + 'A';
      if (c != escape.name && !negated) continue;
      if (!negated) {
        out_ += in_bracket ? std::string(escape.members) : fmt::format("[{}]", escape.members);
      } else if (!escape.others.empty()) {
        out_ += escape.others;
      } else if (in_bracket) {
        refuse(fmt::format("'\\{}' in brackets", c));
      } else {
        out_ += fmt::format("[^{}]", escape.members);
      }
      return true;
    }
    return false;
  }

  /// General categories keep their names; other names are scripts, which PCRE2 would read as script
  /// extensions.
  void property(char kind) {
    const std::size_t close = pattern_.find('}', position_);
    if (!next_is('{') || close == std::string_view::npos) refuse("a property without braces");
    std::string_view name = pattern_.substr(position_ + 1, close - position_ - 1);
    position_ = close + 1;
    bool negated = kind == 'P';
    if (name.starts_with('^')) {
      negated = !negated;
      name.remove_prefix(1);
    }
    if (name.empty() ||
        !std::all_of(name.begin(), name.end(), [](char c) { return is_letter(c) || c == '_'; })) {
      refuse(fmt::format("the property '{}'", name));
    }
    const bool category =
        std::find(general_categories.begin(), general_categories.end(), name) != general_categories.end();
    out_ += fmt::format("\\{}{{{}{}}}", negated ? 'P' : 'p', category ? "" : "sc:", name);
  }

  /// "\xHH" is a byte in Oniguruma, so only ASCII means a character; "\x{H...}" is a code point.
  void hexadecimal() {
    if (next_is('{')) {
      const std::size_t close = pattern_.find('}', position_);
      if (close == std::string_view::npos) refuse("an unclosed '\\x{'");
      out_ += "\\x";
      out_ += pattern_.substr(position_, close + 1 - position_);
      position_ = close + 1;
      return;
    }
    const std::string_view digits = pattern_.substr(position_, 2);
    if (digits.size() != 2 || !is_hex(digits[0]) || !is_hex(digits[1]) ||
        !(digits[0] >= '0' && digits[0] <= '7')) {
      refuse("'\\x' with anything but two digits below 80");
    }
    out_ += fmt::format("\\x{{{}}}", digits);
    position_ += 2;
  }

  std::string_view pattern_;
  const Field& where_;
  std::size_t position_ = 0;
  std::string out_;
};

}  // namespace

std::string to_pcre2(std::string_view pattern, const Field& where) {
  return Translator(pattern, where).run();
}

}  // namespace wick::tokenizer
