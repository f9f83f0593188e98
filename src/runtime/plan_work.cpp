#include "runtime/plan_work.h"

namespace wick {

bool PlanWork::can_start_behind(Work& running) {
  auto* before = dynamic_cast<PlanWork*>(&running);
  return bound() && before && before->bound() && bound()->can_start_behind(*before->bound());
}

void PlanWork::start(Work* running) {
  if (bound()) bound()->start(running ? static_cast<PlanWork*>(running)->bound() : nullptr);
}

bool PlanWork::wait_briefly() { return !bound() || bound()->wait_briefly(); }

void PlanWork::finish() {
  if (bound()) bound()->finish();
}

}  // namespace wick
