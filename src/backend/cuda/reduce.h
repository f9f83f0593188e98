#pragma once

#include <memory>

#include "backend/backend.h"

namespace wick::cuda {

enum class Reduction { sum, max, min, argmax, argmin };

/// Reduces the axes whose bits are set; the output is what is left, row-major.
std::unique_ptr<Kernel> make_reduce(Reduction reduction, const KernelRequest& request, std::uint32_t axes);

}  // namespace wick::cuda
