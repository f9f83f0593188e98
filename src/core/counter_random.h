#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace wick {

/// Random words for choices on the host (order of rows, sampled tokens): word i of a stream is a pure
/// function of (seed, stream, i), the same on every platform and with every standard library. SplitMix64
/// (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators"), read at a position instead
/// of stepped.
class CounterRandom {
 public:
  explicit CounterRandom(std::uint64_t seed, std::uint64_t stream = 0) noexcept
      : key_(mix(seed + increment) ^ mix(~stream)) {}

  std::uint64_t word(std::uint64_t index) const noexcept { return mix(key_ + (index + 1) * increment); }
  /// Uniform in [0, 1), a multiple of 2^-53.
  double unit(std::uint64_t index) const noexcept { return static_cast<double>(word(index) >> 11) * 0x1p-53; }
  /// Uniform in [0, bound), bound > 0; the bias of the remainder is below bound / 2^64.
  std::size_t below(std::uint64_t index, std::size_t bound) const noexcept { return word(index) % bound; }

 private:
  static constexpr std::uint64_t increment = 0x9e3779b97f4a7c15;
  static std::uint64_t mix(std::uint64_t z) noexcept {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }

  std::uint64_t key_;
};

/// Fisher-Yates. Uses the words 0 to items.size() - 1; std::shuffle would give another order on every
/// library.
template <typename T>
void shuffle(std::vector<T>& items, const CounterRandom& random) {
  for (std::size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[random.below(i - 1, i)]);
}

}  // namespace wick
