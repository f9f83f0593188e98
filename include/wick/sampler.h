#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace wick {

/// How the next token is chosen. The filters work as the logits processors of Hugging Face transformers, and
/// in their order: repetition penalty, temperature, top-k, top-p, min-p.
struct SamplingOptions {
  /// Logits are divided by it; 0: always the likeliest token (of equal ones, the lowest id).
  double temperature = 1;
  /// Keep the k highest logits, and those equal to the lowest of them; 0: all.
  std::int64_t top_k = 0;
  /// Keep the fewest likeliest tokens whose probabilities sum to at least this; 1: all. At least one stays.
  double top_p = 1;
  /// Keep tokens with at least this share of the likeliest token's probability; 0: all.
  double min_p = 0;
  /// Tokens of the history: positive logits are divided by it, negative ones multiplied.
  double repetition_penalty = 1;
  std::uint64_t seed = 0;

  /// Throws ArgumentError that names the flag and its domain: temperature >= 0, top_k >= 0, top_p and min_p
  /// in [0, 1], repetition_penalty > 0, all finite.
  void validate() const;
};

struct SampledToken {
  std::int32_t id = 0;
  /// Under the distribution that the token was drawn from; with temperature 0, softmax of the given logits.
  double probability = 0;
  /// As given, before any of the options.
  double logit = 0;
};

/// Draws tokens. The n-th draw depends on the seed, n and the logits only. Not for use from two threads at
/// once.
class Sampler {
 public:
  /// Throws ArgumentError as SamplingOptions::validate does.
  explicit Sampler(const SamplingOptions& options);

  /// `logits` [vocabulary]; minus infinity means impossible. `history`: the ids so far, prompt included.
  /// Throws NumericError when a logit is NaN or plus infinity, or all are minus infinity; ArgumentError when
  /// there is no logit or the history holds an id outside the vocabulary.
  SampledToken sample(std::span<const float> logits, std::span<const std::int32_t> history);

 private:
  struct Candidate {
    std::int32_t id;
    double score;   // relative to the highest, divided by the temperature: at most 0
    double weight;  // exp(score)
  };

  void penalize(std::span<const float> logits, std::span<const std::int32_t> history);
  void collect_candidates();
  void keep_top_k();
  void keep_top_p();
  void keep_min_p();
  const Candidate& draw(double total);

  SamplingOptions options_;
  std::uint64_t draws_ = 0;
  // Kept between calls to spare the allocations.
  std::vector<double> scores_;
  std::vector<Candidate> candidates_;
};

}  // namespace wick
