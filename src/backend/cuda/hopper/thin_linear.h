#pragma once

#include <cuda_runtime_api.h>

#include "backend/cuda/thin_linear.h"

namespace wick::cuda::hopper {

/// Whether the matrices of linear layers can go by some rows that stay in registers: bf16, 2 to 32 rows of
/// short depth; aligned as for `launch_thin_linear_tiles`.
bool streams_thin_linear(DType dtype, const ThinLinearProblem& problem);
void launch_streamed_thin_linear(const ThinLinearProblem& problem, cudaStream_t stream);

}  // namespace wick::cuda::hopper
