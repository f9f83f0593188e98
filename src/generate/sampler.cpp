#include "wick/sampler.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "core/counter_random.h"
#include "wick/error.h"

namespace wick {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

void check_logits(std::span<const float> logits) {
  if (logits.empty()) throw ArgumentError("there are no logits to choose a token from");
  bool possible = false;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    // One comparison finds NaN and plus infinity.
    if (!(logits[i] <= std::numeric_limits<float>::max()))
      throw NumericError(fmt::format("the logit of token {} is {}; no token can be chosen", i, logits[i]));
    possible |= logits[i] > -std::numeric_limits<float>::infinity();
  }
  if (!possible) throw NumericError("every logit is minus infinity; no token can be chosen");
}

double softmax_at(std::span<const float> logits, std::size_t index) {
  const double highest = *std::max_element(logits.begin(), logits.end());
  double total = 0;
  for (float logit : logits) total += std::exp(logit - highest);
  return std::exp(logits[index] - highest) / total;
}

}  // namespace

void SamplingOptions::validate() const {
  const auto check = [](const char* flag, double value, bool holds, const char* domain) {
    if (!holds) throw ArgumentError(fmt::format("{} must be {}, not {}", flag, domain, value));
  };
  check("--temperature", temperature, temperature >= 0 && temperature < infinity, "a number of at least 0");
  check("--top-k", static_cast<double>(top_k), top_k >= 0, "at least 0");
  check("--top-p", top_p, top_p >= 0 && top_p <= 1, "from 0 to 1");
  check("--min-p", min_p, min_p >= 0 && min_p <= 1, "from 0 to 1");
  check("--repetition-penalty", repetition_penalty, repetition_penalty > 0 && repetition_penalty < infinity,
        "a number above 0");
}

Sampler::Sampler(const SamplingOptions& options) : options_(options) { options_.validate(); }

SampledToken Sampler::sample(std::span<const float> logits, std::span<const std::int32_t> history) {
  check_logits(logits);
  scores_.assign(logits.begin(), logits.end());
  penalize(logits, history);
  if (options_.temperature == 0) {
    const auto highest = std::max_element(scores_.begin(), scores_.end());
    const auto id = static_cast<std::size_t>(highest - scores_.begin());
    return {static_cast<std::int32_t>(id), softmax_at(logits, id), logits[id]};
  }
  collect_candidates();
  keep_top_k();
  keep_top_p();
  keep_min_p();
  double total = 0;
  for (const Candidate& candidate : candidates_) total += candidate.weight;
  const Candidate& chosen = draw(total);
  return {chosen.id, chosen.weight / total, logits[static_cast<std::size_t>(chosen.id)]};
}

void Sampler::penalize(std::span<const float> logits, std::span<const std::int32_t> history) {
  for (std::int32_t id : history) {
    if (id < 0 || static_cast<std::size_t>(id) >= logits.size())
      throw ArgumentError(
          fmt::format("the history holds token {}, outside the vocabulary of {}", id, logits.size()));
    // From the given logit, so that an id is penalised once however often it occurs.
    const double logit = logits[static_cast<std::size_t>(id)];
    const double score =
        logit > 0 ? logit / options_.repetition_penalty : logit * options_.repetition_penalty;
    scores_[static_cast<std::size_t>(id)] = std::min(score, std::numeric_limits<double>::max());
  }
}

void Sampler::collect_candidates() {
  const double highest = *std::max_element(scores_.begin(), scores_.end());
  candidates_.clear();
  for (std::size_t id = 0; id < scores_.size(); ++id) {
    if (scores_[id] == -infinity) continue;
    const double score = (scores_[id] - highest) / options_.temperature;
    candidates_.push_back({static_cast<std::int32_t>(id), score, std::exp(score)});
  }
}

void Sampler::keep_top_k() {
  const auto k = static_cast<std::size_t>(options_.top_k);
  if (k == 0 || k >= candidates_.size()) return;
  scores_.clear();
  for (const Candidate& candidate : candidates_) scores_.push_back(candidate.score);
  const auto kth = scores_.begin() + static_cast<std::ptrdiff_t>(k - 1);
  std::nth_element(scores_.begin(), kth, scores_.end(), std::greater<>());
  std::erase_if(candidates_,
                [lowest = *kth](const Candidate& candidate) { return candidate.score < lowest; });
}

void Sampler::keep_top_p() {
  if (options_.top_p >= 1) return;
  double total = 0;
  for (const Candidate& candidate : candidates_) total += candidate.weight;
  const double wanted = options_.top_p * total;
  // A total order, so that the result does not depend on the library's algorithm.
  const auto likelier = [](const Candidate& a, const Candidate& b) {
    return a.score != b.score ? a.score > b.score : a.id < b.id;
  };
  // Mostly a few tokens hold the wanted probability: sort ever larger pieces from the top until they do.
  const std::size_t count = candidates_.size();
  const auto at = [this](std::size_t index) {
    return candidates_.begin() + static_cast<std::ptrdiff_t>(index);
  };
  double sum = 0;
  std::size_t begin = 0;
  for (std::size_t piece = 64; begin < count; piece *= 4) {
    const std::size_t end = std::min(count, begin + piece);
    if (end < count) std::nth_element(at(begin), at(end), candidates_.end(), likelier);
    std::sort(at(begin), at(end), likelier);
    for (; begin < end; ++begin) {
      sum += candidates_[begin].weight;
      if (sum < wanted) continue;
      candidates_.resize(begin + 1);
      return;
    }
  }
}

void Sampler::keep_min_p() {
  // The highest weight is exp(0) = 1.
  std::erase_if(candidates_,
                [this](const Candidate& candidate) { return candidate.weight < options_.min_p; });
}

const Sampler::Candidate& Sampler::draw(double total) {
  double rest = CounterRandom(options_.seed).unit(draws_++) * total;
  const Candidate* last = nullptr;
  for (const Candidate& candidate : candidates_) {
    if (candidate.weight == 0) continue;
    last = &candidate;
    rest -= candidate.weight;
    if (rest < 0) break;
  }
  return *last;
}

}  // namespace wick
