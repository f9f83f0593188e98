#include <cmath>
#include <numbers>

#include "wick/model.h"

namespace wick {
namespace {

/// Frequency of pair i, scaled as the config says. llama3: wavelengths beyond the original context are
/// stretched by `factor`, short ones kept, and those between blended (the Llama 3.1 release's rule).
double frequency(const ModelConfig& config, std::int64_t i) {
  const RopeConfig& rope = config.rope;
  const double base =
      std::pow(rope.theta, -2.0 * static_cast<double>(i) / static_cast<double>(config.head_dim));
  if (rope.type == RopeConfig::Type::linear) return base / rope.factor;
  if (rope.type != RopeConfig::Type::llama3) return base;
  const double original = static_cast<double>(rope.original_max_position);
  const double wavelength = 2.0 * std::numbers::pi / base;
  if (wavelength < original / rope.high_freq_factor) return base;
  if (wavelength > original / rope.low_freq_factor) return base / rope.factor;
  const double blend =
      (original / wavelength - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor);
  return (1 - blend) * base / rope.factor + blend * base;
}

}  // namespace

std::pair<Tensor, Tensor> rope_tables(const ModelConfig& config, std::int64_t count) {
  const std::int64_t pairs = config.head_dim / 2;
  std::vector<float> cos(static_cast<std::size_t>(count * pairs));
  std::vector<float> sin(cos.size());
  for (std::int64_t i = 0; i < pairs; ++i) {
    const double step = frequency(config, i);
    for (std::int64_t p = 0; p < count; ++p) {
      const double angle = static_cast<double>(p) * step;
      cos[static_cast<std::size_t>(p * pairs + i)] = static_cast<float>(std::cos(angle));
      sin[static_cast<std::size_t>(p * pairs + i)] = static_cast<float>(std::sin(angle));
    }
  }
  return {Tensor::from(cos, {count, pairs}), Tensor::from(sin, {count, pairs})};
}

}  // namespace wick
