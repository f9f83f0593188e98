#pragma once

#include "plan/plan.h"

namespace wick {

/// Throws MemoryError when `plan` fits neither under the memory limit nor into the memory of its device.
void require_memory(const Plan& plan, const Backend& backend);

/// Whether the packed copies of weights that runs of `plan` would keep fit under the memory limit too.
bool may_keep_packed(const Plan& plan, const Backend& backend);

}  // namespace wick
