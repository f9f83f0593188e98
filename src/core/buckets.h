#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

namespace wick {

/// The least length of at least `length` among few, because each length that is computed with makes a plan of
/// its own: multiples of `smallest` (a power of two) up to eight times that, then four lengths an octave, so
/// that at most a fifth of a length is padding. Up to 32,768, with a smallest of 32, there are 36.
inline std::int64_t bucketed_length(std::int64_t length, std::int64_t smallest) {
  const auto below = static_cast<std::uint64_t>(std::max<std::int64_t>(length - 1, 1));
  const std::int64_t step = std::max(smallest, static_cast<std::int64_t>(std::bit_floor(below)) / 4);
  return (length + step - 1) / step * step;
}

}  // namespace wick
