#pragma once

#include <span>
#include <vector>

#include "wick/tensor.h"

namespace wick {

/// Records the gradients of sum(output * cotangent) with respect to `targets`; an empty tensor for one that
/// `output` does not depend on. With `stop_at_targets`, a path that passes through one target does not go on
/// to another.
std::vector<Tensor> pull_back(const Tensor& output, const Tensor& cotangent, std::span<const Tensor> targets,
                              bool stop_at_targets);

}  // namespace wick
