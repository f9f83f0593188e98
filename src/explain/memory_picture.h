#pragma once

#include <string>

#include "wick/explain.h"

namespace wick {

/// The arena of a plan: steps from left to right, addresses upwards, a rectangle for the life of a value.
std::string memory_svg(const Explanation& explanation);

}  // namespace wick
