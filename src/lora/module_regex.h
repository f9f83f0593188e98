#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace wick {

/// Matches `text` against a regular expression (PCRE2, UTF-8), from its beginning, with bounded time and
/// memory. Throws AdapterError that names `setting` when the expression does not compile or exceeds the
/// bounds.
bool matches_start(const std::string& pattern, std::string_view text, std::string_view setting);
/// The same for the whole of `text`.
bool matches_whole(const std::string& pattern, std::string_view text, std::string_view setting);
/// What the group of this name holds in a match at the beginning; none without a match.
std::optional<std::string> match_group(const std::string& pattern, const char* group, std::string_view text,
                                       std::string_view setting);
/// PEFT's rule for rank_pattern and alpha_pattern: `(.*\.)?(pattern)$`.
bool matches_end(const std::string& pattern, std::string_view text, std::string_view setting);

}  // namespace wick
