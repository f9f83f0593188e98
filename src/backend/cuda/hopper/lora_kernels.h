#pragma once

#include <cuda_runtime_api.h>

#include "backend/cuda/lora_kernels.h"

// Projections and gradients of adapters on compute capability 9.0, whose blocks keep more of the activations on
// their way than other GPUs have shared memory for.
namespace wick::cuda::hopper {

/// Short sums have other kernels, which are as fast.
bool takes_lora_projection(const LoraProjection& projection);
void launch_lora_projection(const LoraProjection& projection, cudaStream_t stream);

/// Takes no memory for parts.
void launch_lora_gradient(const LoraGradient& gradient, cudaStream_t stream);

}  // namespace wick::cuda::hopper
