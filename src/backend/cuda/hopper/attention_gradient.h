#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "backend/cuda/attention_problem.h"

namespace wick::cuda {

/// The gradient of attention on compute capability 9.0, for bf16, d 64 or 128 and no mask. Returns of how
/// many parts, at most `most_parts`, the gradients of k and v are left as sums that are to be added up and
/// rotated back; where it is 1 there is nothing left to do, and where it is 0 it does not take the problem,
/// and nothing is launched.
std::int64_t launch_hopper_attention_gradient(const AttentionGradientProblem& problem,
                                              std::int64_t most_parts, cudaStream_t stream);

}  // namespace wick::cuda
