#include "wick/schedule.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "wick/error.h"

namespace wick {

ScheduleKind schedule_from_name(std::string_view name) {
  if (name == "constant") return ScheduleKind::constant;
  if (name == "linear") return ScheduleKind::linear;
  if (name == "cosine") return ScheduleKind::cosine;
  throw ArgumentError(fmt::format("--schedule must be constant, linear or cosine, not \"{}\"", name));
}

Schedule::Schedule(const ScheduleOptions& options) : options_(options) {
  if (!std::isfinite(options.learning_rate) || options.learning_rate < 0)
    throw ArgumentError(fmt::format("--lr must be a number of at least 0, not {}", options.learning_rate));
  if (options.total_steps < 1)
    throw ArgumentError(fmt::format("a schedule needs at least 1 step, not {}", options.total_steps));
  if (options.warmup_steps < 0 || options.warmup_steps > options.total_steps)
    throw ArgumentError(fmt::format("--warmup must be from 0 to the number of steps ({}), not {}",
                                    options.total_steps, options.warmup_steps));
  if (!(options.min_ratio >= 0 && options.min_ratio <= 1))
    throw ArgumentError(
        fmt::format("the ratio of the lowest to the highest learning rate must be from 0 to 1, not {}",
                    options.min_ratio));
}

double Schedule::learning_rate(std::int64_t step) const {
  const auto t = static_cast<double>(step);
  const auto warmup = static_cast<double>(options_.warmup_steps);
  if (step < options_.warmup_steps) return options_.learning_rate * t / warmup;
  if (options_.kind == ScheduleKind::constant) return options_.learning_rate;

  const double decay_steps = std::max(1.0, static_cast<double>(options_.total_steps) - warmup);
  double factor = 0;
  if (options_.kind == ScheduleKind::linear) {
    factor = std::max(0.0, static_cast<double>(options_.total_steps) - t) / decay_steps;
  } else {
    const double progress = std::min(1.0, (t - warmup) / decay_steps);
    factor = 0.5 * (1 + std::cos(std::numbers::pi * progress));
  }
  return options_.learning_rate * (options_.min_ratio + (1 - options_.min_ratio) * factor);
}

}  // namespace wick
