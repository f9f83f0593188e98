#pragma once

#include <cstdint>
#include <span>

#include "wick/sampler.h"
#include "wick/tensor.h"

namespace wick {

/// A token that is chosen where its logits are.
struct Choice {
  Tensor id;       ///< i64 [rows, 1]: what the next step may be fed
  Tensor numbers;  ///< f64 [rows, 3]: the id, its probability and its logit as SampledToken defines them

  /// Waits for the choice of the only row. The probability is NaN where `Sampler::sample` throws
  /// NumericError.
  SampledToken read() const;
};

/// `Sampler` in terms of ops: the same filters in the same order on f64, and the same draws. So the step that
/// feeds a token can be submitted before the host knows it. Where rounding makes a sum of weights fall on the
/// other side of a draw or of `top_p`, the token may be another one: about one draw in 10^12.
class DeviceSampler {
 public:
  /// Throws ArgumentError as SamplingOptions::validate does. `history`: the ids so far, within `vocabulary`.
  DeviceSampler(const SamplingOptions& options, std::span<const std::int32_t> history,
                std::int64_t vocabulary);

  /// Records the next choice from floating-point logits [rows, vocabulary]; with a repetition penalty, of one
  /// row. The ids that are chosen join the history.
  Choice choose(const Tensor& logits) { return choose(logits, Tensor::scalar(next_share()), seen_); }
  /// The same with a draw of `next_share` and a history that are given: they, too, may be inputs of a
  /// compiled step. `seen` becomes the history with the choice.
  Choice choose(const Tensor& logits, const Tensor& share, Tensor& seen) const;
  /// The next draw, from 0 to below 1, as an f64 number.
  double next_share();

  /// What the history is kept in: bool [1, vocabulary]; empty without a repetition penalty. To be evaluated
  /// with each choice, so that it becomes data.
  const Tensor& seen() const { return seen_; }

 private:
  /// What a draw is from: scores that are to be divided by the temperature, those that a filter leaves out as
  /// minus infinity.
  struct Candidates {
    Tensor scores;
    double temperature;
    Tensor order;  ///< the ids that the scores are of; empty: all, in turn
  };
  Candidates candidates(const Tensor& scores) const;
  Tensor penalized(const Tensor& logits, const Tensor& seen) const;
  Choice likeliest(const Tensor& logits, const Tensor& scores) const;
  Choice draw(const Tensor& logits, const Tensor& scores, const Tensor& share) const;

  SamplingOptions options_;
  std::uint64_t draws_ = 0;
  Tensor seen_;
};

}  // namespace wick
