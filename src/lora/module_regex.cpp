#include "lora/module_regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <fmt/format.h>
#include <pcre2.h>

#include <algorithm>
#include <array>
#include <memory>
#include <new>
#include <utility>

#include "io/printable.h"
#include "wick/error.h"

namespace wick {
namespace {

constexpr std::size_t max_pattern = 10'000;
constexpr std::uint32_t max_steps = 1'000'000;
constexpr std::uint32_t max_heap_kib = 16 * 1024;
constexpr std::uint32_t max_nesting = 100;

template <auto F>
struct Free {
  template <typename T>
  void operator()(T* p) const {
    F(p);
  }
};
using Code = std::unique_ptr<pcre2_code, Free<pcre2_code_free>>;
using CompileContext = std::unique_ptr<pcre2_compile_context, Free<pcre2_compile_context_free>>;
using MatchContext = std::unique_ptr<pcre2_match_context, Free<pcre2_match_context_free>>;
using MatchData = std::unique_ptr<pcre2_match_data, Free<pcre2_match_data_free>>;

[[noreturn]] void refuse(std::string_view setting, const std::string& pattern, std::string_view complaint) {
  throw AdapterError(
      fmt::format("{}: the regular expression '{}' {}", setting, printable(pattern), complaint));
}

std::string message_of(int error) {
  std::array<PCRE2_UCHAR, 256> buffer{};
  pcre2_get_error_message(error, buffer.data(), buffer.size());
  return reinterpret_cast<const char*>(buffer.data());
}

template <typename Pointer>
Pointer allocated(Pointer pointer) {
  if (!pointer) throw std::bad_alloc();
  return pointer;
}

Code compile(const std::string& pattern, std::uint32_t options, std::string_view setting) {
  if (pattern.size() > max_pattern)
    refuse(setting, pattern, fmt::format("is longer than {} bytes", max_pattern));
  const auto context = allocated(CompileContext(pcre2_compile_context_create(nullptr)));
  pcre2_set_parens_nest_limit(context.get(), max_nesting);
  int error = 0;
  PCRE2_SIZE offset = 0;
  Code code(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                          options | PCRE2_UTF | PCRE2_ANCHORED | PCRE2_NEVER_BACKSLASH_C, &error, &offset,
                          context.get()));
  if (!code)
    refuse(setting, pattern, fmt::format("is wrong at character {}: {}", offset + 1, message_of(error)));
  return code;
}

struct Match {
  Code code;
  MatchData data;  // null when nothing matches
};

Match match(const std::string& pattern, std::string_view text, std::uint32_t options,
            std::string_view setting) {
  Code code = compile(pattern, options, setting);
  const auto context = allocated(MatchContext(pcre2_match_context_create(nullptr)));
  pcre2_set_match_limit(context.get(), max_steps);
  pcre2_set_depth_limit(context.get(), max_steps);
  pcre2_set_heap_limit(context.get(), max_heap_kib);
  auto data = allocated(MatchData(pcre2_match_data_create_from_pattern(code.get(), nullptr)));
  const int result = pcre2_match(code.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), 0, 0,
                                 data.get(), context.get());
  if (result == PCRE2_ERROR_NOMATCH) return {};
  if (result < 0) {
    refuse(setting, pattern,
           fmt::format("cannot be matched against '{}': {}", printable(text), message_of(result)));
  }
  return {std::move(code), std::move(data)};
}

bool is_plain(const std::string& pattern) {
  return std::all_of(pattern.begin(), pattern.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
  });
}

/// `matches_end` for letters and dots alone. Adapters can have a pattern for each of hundreds of modules:
/// compiling each for each would take seconds.
bool plain_matches_end(const std::string& pattern, std::string_view text) {
  if (pattern.size() > text.size()) return false;
  const std::size_t begin = text.size() - pattern.size();
  if (begin > 0 && text[begin - 1] != '.') return false;
  return std::equal(pattern.begin(), pattern.end(), text.begin() + static_cast<std::ptrdiff_t>(begin),
                    [](char p, char t) { return p == '.' || p == t; });
}

}  // namespace

bool matches_start(const std::string& pattern, std::string_view text, std::string_view setting) {
  return match(pattern, text, 0, setting).data != nullptr;
}

bool matches_whole(const std::string& pattern, std::string_view text, std::string_view setting) {
  return match(pattern, text, PCRE2_ENDANCHORED, setting).data != nullptr;
}

std::optional<std::string> match_group(const std::string& pattern, const char* group, std::string_view text,
                                       std::string_view setting) {
  const Match found = match(pattern, text, 0, setting);
  if (!found.data) return std::nullopt;
  const int number = pcre2_substring_number_from_name(found.code.get(), reinterpret_cast<PCRE2_SPTR>(group));
  if (number < 0) return std::nullopt;
  const PCRE2_SIZE* offsets = pcre2_get_ovector_pointer(found.data.get()) + std::ptrdiff_t{2} * number;
  if (offsets[0] == PCRE2_UNSET) return std::nullopt;
  return std::string(text.substr(offsets[0], offsets[1] - offsets[0]));
}

bool matches_end(const std::string& pattern, std::string_view text, std::string_view setting) {
  if (is_plain(pattern)) return plain_matches_end(pattern, text);
  return matches_start("(.*\\.)?(" + pattern + ")$", text, setting);
}

}  // namespace wick
