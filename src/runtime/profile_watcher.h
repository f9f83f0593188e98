#pragma once

#include <memory>

#include "core/trace.h"
#include "plan/plan.h"

namespace wick {

/// Reports each step of a plan to the profile that is being recorded.
class ProfileWatcher final : public StepWatcher {
 public:
  explicit ProfileWatcher(const std::shared_ptr<const Plan>& plan)
      : subject_(trace::subject(plan, plan->steps.size())) {}

  void begin_step(std::size_t) override { begin_ = trace::now(); }
  void end_step(std::size_t step, const std::byte*) override {
    trace::add({.category = "step",
                .name = "step",
                .begin = begin_,
                .end = trace::now(),
                .subject = subject_,
                .index = static_cast<std::uint32_t>(step)});
  }

 private:
  std::uint32_t subject_;
  std::int64_t begin_ = 0;
};

}  // namespace wick
