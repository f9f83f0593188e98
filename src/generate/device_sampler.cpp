#include "generate/device_sampler.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "core/counter_random.h"
#include "ops/categorical.h"
#include "wick/ops.h"

namespace wick {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

Tensor column(const Tensor& x, std::int64_t index) { return slice(x, 1, index, index + 1); }

Tensor logit_of(const Tensor& logits, const Tensor& id) {
  return cast(take_along_axis(logits, id, 1), DType::f64);
}

/// What `categorical` chose of the logits themselves.
Choice choice(const Tensor& chosen) { return {cast(column(chosen, 0), DType::i64), chosen}; }

Choice choice(const Tensor& id, const Tensor& probability, const Tensor& logits) {
  return {id, concat({cast(id, DType::f64), probability, logit_of(logits, id)}, 1)};
}

/// Scores in descending order, those behind the first whose weights come to `share` of the whole as
/// impossible ones.
Tensor keep_top_p(const Tensor& scores, double share) {
  const Tensor sums = cumsum(exp(scores), 1);
  const std::int64_t count = sums.dim(1);
  // The first has nothing before it, which is less than any share, also 0.
  const Tensor before = pad(slice(sums, 1, 0, count - 1), 1, 1, 0, -1);
  return where(less(before, column(sums, count - 1) * share), scores, -infinity);
}

}  // namespace

SampledToken Choice::read() const {
  const std::vector<double> values = numbers.to_vector<double>();
  return {static_cast<std::int32_t>(values[0]), values[1], values[2]};
}

DeviceSampler::DeviceSampler(const SamplingOptions& options, std::span<const std::int32_t> history,
                             std::int64_t vocabulary)
    : options_(options) {
  options_.validate();
  if (options_.repetition_penalty == 1) return;
  std::vector<std::byte> seen(static_cast<std::size_t>(vocabulary));
  for (const std::int32_t id : history) seen[static_cast<std::size_t>(id)] = std::byte{1};
  seen_ = Tensor::from_bytes(seen, {1, vocabulary}, DType::bool_);
}

Tensor DeviceSampler::penalized(const Tensor& logits, const Tensor& seen) const {
  const Tensor wide = cast(logits, DType::f64);
  const Tensor scores =
      where(greater(wide, 0), wide / options_.repetition_penalty, wide * options_.repetition_penalty);
  // What is not finite stays so, for it has to be seen.
  return where(logical_and(seen, is_finite(wide)), minimum(scores, std::numeric_limits<double>::max()), wide);
}

DeviceSampler::Candidates DeviceSampler::candidates(const Tensor& scores) const {
  const bool limits_count = options_.top_k > 0 && options_.top_k < scores.dim(1);
  const bool limits_sum = options_.top_p < 1;
  if (!limits_count && !limits_sum && options_.min_p == 0) return {scores, options_.temperature, {}};
  const Tensor highest = cast(max(scores, {1}, true), DType::f64);
  Tensor kept = (cast(scores, DType::f64) - highest) / options_.temperature;
  Tensor order;
  if (limits_count || limits_sum) order = argsort(kept, 1, true);
  if (limits_count) {
    const Tensor lowest = take_along_axis(kept, column(order, options_.top_k - 1), 1);
    kept = where(less(kept, lowest), -infinity, kept);
  }
  if (limits_sum) kept = keep_top_p(take_along_axis(kept, order, 1), options_.top_p);
  if (options_.min_p > 0) kept = where(less(exp(kept), options_.min_p), -infinity, kept);
  return {kept, 1, limits_sum ? order : Tensor{}};
}

Choice DeviceSampler::draw(const Tensor& logits, const Tensor& scores, const Tensor& share) const {
  const Candidates from = candidates(scores);
  const Tensor drawn = categorical(from.scores, from.temperature, share);
  if (from.scores.node() == logits.node()) return choice(drawn);
  const Tensor place = cast(column(drawn, 0), DType::i64);
  const Tensor id = from.order.defined() ? take_along_axis(from.order, place, 1) : place;
  return choice(id, column(drawn, 1), logits);
}

/// The probability is that of the model's own logits. Where nothing is penalised the highest of them is the
/// chosen one's.
Choice DeviceSampler::likeliest(const Tensor& logits, const Tensor& scores) const {
  if (scores.node() == logits.node()) return choice(categorical(logits, 0));
  const Tensor id = argmax(scores, 1, true);
  const Tensor highest = cast(max(logits, {1}, true), DType::f64);
  const Tensor total = sum(exp(cast(logits, DType::f64) - highest), {1}, true);
  return choice(id, exp(logit_of(logits, id) - highest) / total, logits);
}

double DeviceSampler::next_share() {
  // Farther below 1 than sums are rounded, so that one of them exceeds this share of the total.
  return std::min(CounterRandom(options_.seed).unit(draws_++), 1 - 0x1p-40);
}

Choice DeviceSampler::choose(const Tensor& logits, const Tensor& share, Tensor& seen) const {
  const Tensor scores = seen.defined() ? penalized(logits, seen) : logits;
  Choice chosen = options_.temperature == 0 ? likeliest(logits, scores) : draw(logits, scores, share);
  if (seen.defined()) seen = scatter(seen, chosen.id, ones({1, 1}, DType::bool_), 1);
  return chosen;
}

}  // namespace wick
