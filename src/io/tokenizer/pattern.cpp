#include "io/tokenizer/pattern.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "io/tokenizer/regex_syntax.h"
#include "io/tokenizer/unicode.h"
#include "wick/error.h"

namespace wick::tokenizer {
namespace {

constexpr std::size_t max_pattern_bytes = 16384;
constexpr std::uint32_t match_limit = 10'000'000;
constexpr std::uint32_t heap_limit_kib = 256 * 1024;

template <auto free_function>
struct Free {
  template <class T>
  void operator()(T* object) const {
    free_function(object);
  }
};
using CodePtr = std::unique_ptr<pcre2_code, Free<pcre2_code_free>>;
using MatchDataPtr = std::unique_ptr<pcre2_match_data, Free<pcre2_match_data_free>>;
using MatchContextPtr = std::unique_ptr<pcre2_match_context, Free<pcre2_match_context_free>>;
using CompileContextPtr = std::unique_ptr<pcre2_compile_context, Free<pcre2_compile_context_free>>;

std::string message_of(int code) {
  PCRE2_UCHAR buffer[256];
  pcre2_get_error_message(code, buffer, sizeof buffer);
  return reinterpret_cast<const char*>(buffer);
}

template <class Ptr>
Ptr require(Ptr pointer) {
  if (!pointer) throw MemoryError("Memory for a regular expression could not be had.");
  return pointer;
}

/// Steps that matching may still take. A step is a character that a repetition passed over or a position that
/// it tried, so the count depends on pattern and text alone.
struct Budget {
  std::uint64_t left = 1'000'000;
  std::size_t position = 0;

  static int spend(pcre2_callout_block* block, void* self) {
    auto& budget = *static_cast<Budget*>(self);
    const std::size_t now = block->current_position;
    const std::uint64_t steps = 1 + (now > budget.position ? now - budget.position : budget.position - now);
    budget.position = now;
    if (steps > budget.left) return PCRE2_ERROR_CALLOUT;
    budget.left -= steps;
    return 0;
  }
};
constexpr std::uint64_t steps_per_byte = 100;

}  // namespace

struct Pattern::Code {
  std::string source;  // the literal, or the regular expression as the file has it
  std::string where;   // file and field, for messages
  CodePtr regex;       // null for a literal
};

Pattern::Pattern(std::unique_ptr<const Code> code) : code_(std::move(code)) {}
Pattern::Pattern(Pattern&&) noexcept = default;
Pattern& Pattern::operator=(Pattern&&) noexcept = default;
Pattern::~Pattern() = default;

Pattern Pattern::read(const Field& field) {
  if (const auto literal = field.find("String")) {
    if (literal->string().empty()) literal->unsupported("is an empty string, which matches everywhere");
    return Pattern(std::make_unique<const Code>(Code{literal->string(), "", nullptr}));
  }
  if (const auto expression = field.find("Regex")) return regex(expression->string(), *expression);
  field.malformed("must have 'String' or 'Regex'");
}

Pattern Pattern::regex(std::string_view regex, const Field& where) {
  if (regex.size() > max_pattern_bytes) {
    where.unsupported(fmt::format("is a regular expression longer than {} bytes", max_pattern_bytes));
  }
  const std::string translated = to_pcre2(regex, where);
  const auto context = require(CompileContextPtr(pcre2_compile_context_create(nullptr)));
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int error = 0;
  PCRE2_SIZE offset = 0;
  CodePtr code(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                             PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error,
                             &offset, context.get()));
  if (!code) {
    where.malformed(
        fmt::format("holds the regular expression '{}', which cannot be read: {}", regex, message_of(error)));
  }
  // Without just-in-time support matching is slower and otherwise the same.
  pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE);
  return Pattern(std::make_unique<const Code>(
      Code{std::string(regex), fmt::format("{}: {}", where.file(), where.path()), std::move(code)}));
}

struct Pattern::Search::State {
  const Code& code;
  Budget budget;
  MatchDataPtr data;
  MatchContextPtr context;
};

Pattern::Search::Search(const Pattern& pattern) : state_(new State{*pattern.code_, {}, nullptr, nullptr}) {
  if (!state_->code.regex) return;
  state_->data =
      require(MatchDataPtr(pcre2_match_data_create_from_pattern(state_->code.regex.get(), nullptr)));
  state_->context = require(MatchContextPtr(pcre2_match_context_create(nullptr)));
  pcre2_set_match_limit(state_->context.get(), match_limit);
  pcre2_set_heap_limit(state_->context.get(), heap_limit_kib);
  pcre2_set_callout(state_->context.get(), &Budget::spend, &state_->budget);
}

Pattern::Search::~Search() = default;

bool Pattern::Search::find(std::string_view text, std::size_t from, Span& match) {
  if (state_->code.regex) return find_regex(text, from, match);
  const std::size_t at = text.find(state_->code.source, from);
  if (at == std::string_view::npos) return false;
  match = {at, at + state_->code.source.size(), true};
  return true;
}

bool Pattern::Search::find_regex(std::string_view text, std::size_t from, Span& match) {
  const auto run = [&](std::uint32_t options) {
    state_->budget.position = from;
    return pcre2_match(state_->code.regex.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                       PCRE2_NO_UTF_CHECK | options, state_->data.get(), state_->context.get());
  };
  int result = run(0);
  if (result == PCRE2_ERROR_JIT_STACKLIMIT) result = run(PCRE2_NO_JIT);
  if (result == PCRE2_ERROR_NOMATCH) return false;
  if (result < 0) {
    const bool exceeded = result == PCRE2_ERROR_CALLOUT || result == PCRE2_ERROR_MATCHLIMIT ||
                          result == PCRE2_ERROR_HEAPLIMIT || result == PCRE2_ERROR_DEPTHLIMIT;
    throw ConfigError(fmt::format(
        "{} holds the regular expression '{}', which {} on a text of {} bytes.", state_->code.where,
        state_->code.source,
        exceeded ? "takes more steps than are allowed" : fmt::format("failed ({})", message_of(result)),
        text.size()));
  }
  const PCRE2_SIZE* const bounds = pcre2_get_ovector_pointer(state_->data.get());
  match = {bounds[0], bounds[1], true};
  return true;
}

void Pattern::Search::spans(std::string_view text, std::vector<Span>& out) {
  if (text.empty()) return;
  state_->budget.left += steps_per_byte * text.size();
  std::size_t previous = 0;  // end of what `out` covers
  std::size_t from = 0;
  bool matched = false;
  Span match{};
  while (from <= text.size() && find(text, from, match)) {
    // An empty match right behind the last one is none; the search goes on a character later.
    if (match.begin == match.end && matched && match.end == previous) {
      from = from < text.size() ? from + code_point_at(text, from).size : from + 1;
      continue;
    }
    if (previous != match.begin) out.push_back({previous, match.begin, false});
    out.push_back(match);
    previous = from = match.end;
    matched = true;
  }
  if (previous != text.size()) out.push_back({previous, text.size(), false});
}

double Pattern::growth(std::string_view content) const {
  const auto longest = static_cast<double>(content.size());
  // A regular expression may match nothing before each character and at the end.
  return code_->regex ? 1 + 2 * longest : std::max(1.0, longest / static_cast<double>(code_->source.size()));
}

std::string Pattern::replace(std::string_view text, std::string_view content, bool* moves_start) const {
  std::vector<Span> spans;
  Search(*this).spans(text, spans);
  std::string out;
  out.reserve(text.size());
  for (const Span& span : spans) {
    out += span.is_match ? content : text.substr(span.begin, span.end - span.begin);
  }
  if (moves_start != nullptr && !spans.empty() && spans[0].is_match) {
    // The content counts as coming from the match's last character.
    const std::size_t end = spans[0].end;
    const bool at_first_character = end == 0 || code_point_at(text, 0).size == end;
    *moves_start = content.empty() ? end > 0 : !at_first_character;
  }
  return out;
}

}  // namespace wick::tokenizer
