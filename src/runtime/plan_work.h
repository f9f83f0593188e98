#pragma once

#include "runtime/bound_plan.h"
#include "runtime/stream_queue.h"

namespace wick {

/// Work that runs a plan: while a device is at one, the next can be started.
class PlanWork : public Work {
 public:
  bool can_start_behind(Work& running) override;
  void start(Work* running) override;
  bool wait_briefly() override;
  void finish() override;

 protected:
  /// Null: there is nothing to run.
  virtual BoundPlan* bound() = 0;
};

}  // namespace wick
