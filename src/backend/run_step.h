#pragma once

#include <cstddef>
#include <span>

#include "backend/step.h"

namespace wick {

inline std::byte* resolve(const Address& a, std::span<std::byte* const> bases) {
  return bases[a.base] + a.offset;
}

/// Runs (on a device: launches) a step's kernel on inputs at these addresses.
void run_step(const Step& step, const void* const* inputs, std::span<std::byte* const> bases);

}  // namespace wick
