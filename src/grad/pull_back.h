#pragma once

#include <span>
#include <vector>

#include "grad/history.h"

namespace wick {

/// Records the gradients of sum(output * cotangent) with respect to the targets of the output's history; an
/// empty tensor for one that it does not depend on.
std::vector<Tensor> pull_back(const GradHistory& history, const Tensor& cotangent);

}  // namespace wick
