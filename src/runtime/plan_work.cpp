#include "runtime/plan_work.h"

namespace wick {

bool PlanWork::can_start_behind(const Work& running) const {
  const auto* before = dynamic_cast<const PlanWork*>(&running);
  return bound() && before && before->bound() && bound()->can_start_behind(*before->bound());
}

void PlanWork::start(const Work* running) {
  if (bound()) bound()->start(running ? static_cast<const PlanWork*>(running)->bound() : nullptr);
}

bool PlanWork::wait_briefly() { return !bound() || bound()->wait_briefly(); }

void PlanWork::finish() {
  if (bound()) bound()->finish();
}

}  // namespace wick
