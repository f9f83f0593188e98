#pragma once

#include <cuda_runtime_api.h>

#include "backend/cuda/attention_problem.h"

namespace wick::cuda {

/// Attention on compute capability 9.0, for bf16, d 64 or 128 and no mask. False when it does not take the
/// problem (then nothing is launched).
bool launch_hopper_attention(const AttentionProblem& problem, cudaStream_t stream);

}  // namespace wick::cuda
