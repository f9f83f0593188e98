#pragma once

#include "plan/plan.h"

namespace wick {

/// Throws MemoryError when `plan` does not fit under the memory limit.
void require_memory(const Plan& plan);

}  // namespace wick
