#pragma once

#include <cstdint>
#include <string_view>

namespace wick {

enum class ScheduleKind : std::uint8_t { constant, linear, cosine };

/// "constant", "linear" or "cosine". Throws ArgumentError that lists them for anything else.
ScheduleKind schedule_from_name(std::string_view name);

struct ScheduleOptions {
  ScheduleKind kind = ScheduleKind::cosine;
  double learning_rate = 2e-4;  ///< the peak
  std::int64_t total_steps = 1;
  std::int64_t warmup_steps = 0;
  double min_ratio = 0;  ///< the decay ends at min_ratio * learning_rate
};

/// Learning rate of each optimizer step, with the values of Hugging Face transformers
/// (optimization.py: get_{constant,linear,cosine}_schedule_with_warmup,
/// get_cosine_with_min_lr_schedule_with_warmup).
/// With t the step from 0, w = warmup_steps, T = total_steps, r = min_ratio, the rate is lr times
/// - for t < w: t / w, so that the very first step of a warm-up has rate 0;
/// - constant: 1;
/// - linear: r + (1 - r) * (T - t) / max(1, T - w);
/// - cosine: r + (1 - r) * (1 + cos(pi * (t - w) / max(1, T - w))) / 2.
/// Beyond T the last value stays (there the cosine of transformers would rise again).
class Schedule {
 public:
  /// Throws ArgumentError for a learning rate that is negative or not finite, total_steps below 1,
  /// warmup_steps outside [0, total_steps], or min_ratio outside [0, 1].
  explicit Schedule(const ScheduleOptions& options);

  /// `step` counts optimizer steps from 0.
  double learning_rate(std::int64_t step) const;

 private:
  ScheduleOptions options_;
};

}  // namespace wick
