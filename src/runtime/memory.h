#pragma once

#include "plan/plan.h"

namespace wick {

/// Throws MemoryError when `plan` fits neither under the memory limit nor into the memory of its device.
void require_memory(const Plan& plan, const Backend& backend);

}  // namespace wick
