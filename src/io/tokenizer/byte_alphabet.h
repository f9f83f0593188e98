#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace wick::tokenizer {

/// GPT-2's printable alphabet of the 256 bytes (https://github.com/openai/gpt-2/blob/master/src/encoder.py):
/// printable Latin-1 characters stand for themselves, the rest for U+0100 and upwards in order.
std::string_view byte_to_printable(std::uint8_t byte);
std::optional<std::uint8_t> printable_to_byte(char32_t c);

}  // namespace wick::tokenizer
