#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace wick {

/// `text` as an error message can show it: control characters replaced by '?', cut between UTF-8 characters
/// after about `max_bytes`, then followed by "...". For names and values that come from a file.
std::string printable(std::string_view text, std::size_t max_bytes = 120);

}  // namespace wick
