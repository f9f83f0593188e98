#pragma once

#include <cuda_runtime_api.h>

#include "backend/cuda/attention_problem.h"

namespace wick::cuda {

/// The gradient of attention on compute capability 9.0, for bf16, d 64 or 128 and no mask: that of q, and the
/// sums for k and v of `parts` parts of the heads that share a key head (which, if there are more than one,
/// are left to be added up and rotated back). False when it does not take the problem (then nothing is
/// launched).
bool launch_hopper_attention_gradient(const AttentionGradientProblem& problem, std::int64_t parts,
                                      cudaStream_t stream);

}  // namespace wick::cuda
