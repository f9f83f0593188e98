#include "io/tokenizer/byte_alphabet.h"

#include <array>

#include "io/tokenizer/unicode.h"

namespace wick::tokenizer {
namespace {

constexpr std::uint16_t unmapped = 0xFFFF;

struct Alphabet {
  std::array<std::string, 256> printable;
  std::array<std::uint16_t, 512> byte;

  Alphabet() {
    byte.fill(unmapped);
    char32_t next = 0x100;
    for (int b = 0; b < 256; ++b) {
      const bool itself = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
      const char32_t c = itself ? static_cast<char32_t>(b) : next++;
      append_utf8(printable[b], c);
      byte[c] = static_cast<std::uint16_t>(b);
    }
  }
};

const Alphabet& alphabet() {
  static const Alphabet instance;
  return instance;
}

}  // namespace

std::string_view byte_to_printable(std::uint8_t byte) { return alphabet().printable[byte]; }

std::optional<std::uint8_t> printable_to_byte(char32_t c) {
  const Alphabet& a = alphabet();
  if (c >= a.byte.size() || a.byte[c] == unmapped) return std::nullopt;
  return static_cast<std::uint8_t>(a.byte[c]);
}

}  // namespace wick::tokenizer
