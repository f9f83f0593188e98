#pragma once

#include "runtime/bound_plan.h"
#include "runtime/stream_queue.h"

namespace wick {

/// Work that runs a plan: while a device is at one, the next can be started.
class PlanWork : public Work {
 public:
  bool can_start_behind(const Work& running) const override;
  void start(const Work* running) override;
  bool wait_briefly() override;
  void finish() override;

 protected:
  /// Null: there is nothing to run.
  virtual BoundPlan* bound() = 0;
  const BoundPlan* bound() const { return const_cast<PlanWork*>(this)->bound(); }
};

}  // namespace wick
