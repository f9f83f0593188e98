#pragma once

#include <string>
#include <vector>

#include "core/trace.h"
#include "explain/step_cost.h"
#include "wick/profile.h"

namespace wick {

/// What is known of a step beside its times.
struct ProfiledStep {
  std::string op;
  std::string call;  ///< with shapes, and the line that recorded it
  std::string scope;
  StepCost cost;
  double floor_seconds = 0;
};

struct Profile::Data {
  trace::Recording recording;
  std::vector<std::vector<ProfiledStep>> steps;  ///< by subject, the plans that ran
  std::vector<OpTime> ops;
};

/// Time that a kind of span took by itself, without the spans within it.
struct SpanTime {
  std::string name;
  std::uint64_t count = 0;
  double seconds = 0;
};
/// The longest first. Spans of steps are one kind.
std::vector<SpanTime> self_times(const trace::Recording& recording);

}  // namespace wick
