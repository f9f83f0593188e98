#include "generate/device_sampler.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "core/counter_random.h"
#include "wick/ops.h"

namespace wick {
namespace {

Tensor column(const Tensor& x, std::int64_t index) { return slice(x, 1, index, index + 1); }
Tensor last(const Tensor& x) { return column(x, x.dim(1) - 1); }

Tensor logit_of(const Tensor& logits, const Tensor& id) {
  return cast(take_along_axis(logits, id, 1), DType::f64);
}

Choice choice(const Tensor& id, const Tensor& probability, const Tensor& logit) {
  return {id, concat({cast(id, DType::f64), probability, logit}, 1)};
}

/// Weights in descending order without those behind the first that bring their sum to `share` of the whole.
Tensor keep_top_p(const Tensor& weights, double share) {
  const Tensor sums = cumsum(weights, 1);
  // The first has nothing before it, which is less than any share, also 0.
  const Tensor before = pad(slice(sums, 1, 0, sums.dim(1) - 1), 1, 1, 0, -1);
  return where(less(before, last(sums) * share), weights, 0);
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

Tensor DeviceSampler::penalized(const Tensor& logits) const {
  const Tensor wide = cast(logits, DType::f64);
  const Tensor scores =
      where(greater(wide, 0), wide / options_.repetition_penalty, wide * options_.repetition_penalty);
  // What is not finite stays so, for it has to be seen.
  return where(logical_and(seen_, is_finite(wide)), minimum(scores, std::numeric_limits<double>::max()),
               wide);
}

Choice DeviceSampler::draw(const Tensor& logits, const Tensor& scores) {
  const std::int64_t vocabulary = logits.dim(1);
  const Tensor highest = cast(max(scores, {1}, true), DType::f64);
  const Tensor relative = (cast(scores, DType::f64) - highest) / options_.temperature;
  Tensor weights = exp(relative);

  const bool limits_count = options_.top_k > 0 && options_.top_k < vocabulary;
  const bool limits_sum = options_.top_p < 1;
  Tensor order;
  if (limits_count || limits_sum) order = argsort(relative, 1, true);
  if (limits_count) {
    const Tensor lowest = take_along_axis(relative, column(order, options_.top_k - 1), 1);
    weights = where(less(relative, lowest), 0, weights);
  }
  if (limits_sum) weights = keep_top_p(take_along_axis(weights, order, 1), options_.top_p);
  if (options_.min_p > 0) weights = where(less(weights, options_.min_p), 0, weights);

  const Tensor sums = cumsum(weights, 1);
  const Tensor total = last(sums);
  // Farther below 1 than sums are rounded, so that one of them exceeds this share of the total.
  const double share = std::min(CounterRandom(options_.seed).unit(draws_++), 1 - 0x1p-40);
  const Tensor reached = greater(sums, total * Tensor::scalar(share));
  const Tensor place = argmax(logical_and(greater(weights, 0), reached), 1, true);
  const Tensor id = limits_sum ? take_along_axis(order, place, 1) : place;
  return choice(id, take_along_axis(weights, place, 1) / total, logit_of(logits, id));
}

/// The probability is that of the model's own logits. Where nothing is penalised the highest of them is the
/// chosen one's.
Choice DeviceSampler::likeliest(const Tensor& logits, const Tensor& scores) const {
  const Tensor id = argmax(scores, 1, true);
  const Tensor logit = logit_of(logits, id);
  const Tensor highest = seen_.defined() ? cast(max(logits, {1}, true), DType::f64) : logit;
  const Tensor total = sum(exp(cast(logits, DType::f64) - highest), {1}, true);
  return choice(id, exp(logit - highest) / total, logit);
}

Choice DeviceSampler::choose(const Tensor& logits) {
  const Tensor scores = seen_.defined() ? penalized(logits) : logits;
  Choice chosen = options_.temperature == 0 ? likeliest(logits, scores) : draw(logits, scores);
  if (seen_.defined()) seen_ = scatter(seen_, chosen.id, ones({1, 1}, DType::bool_), 1);
  return chosen;
}

}  // namespace wick
