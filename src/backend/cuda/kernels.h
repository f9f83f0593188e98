#pragma once

#include <span>

#include "backend/backend.h"

// One function a kernel file: the entries that it offers. `registry.cpp` is the list of them.
namespace wick::cuda::kernels {

using Entries = std::span<const KernelEntry>;

}  // namespace wick::cuda::kernels
