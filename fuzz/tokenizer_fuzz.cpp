// Bytes as a tokenizer.json: whatever loads must encode and decode, or fail with one of Wick's errors.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "wick/error.h"
#include "wick/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::string_view text = "  The caf\xC3\xA9's 12\xC2\xBD <s>\n\xE4\xBD\xA0\xF0\x9F\x98\x80  ab";
  try {
    const auto tokenizer =
        wick::Tokenizer::from_json(std::string_view(reinterpret_cast<const char*>(data), size));
    for (const bool parse_special : {false, true}) {
      const auto ids = tokenizer.encode(text, {.parse_special = parse_special});
      wick::StreamDecoder stream(tokenizer);
      std::string pieces;
      for (const std::int32_t id : ids) pieces += stream.push(id);
      pieces += stream.flush();
      if (pieces != tokenizer.decode(ids)) std::abort();
    }
  } catch (const wick::Error&) {
  }
  return 0;
}
