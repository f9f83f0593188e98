#pragma once

#include <cuda_runtime_api.h>

#include <span>

#include "backend/cuda/lora_kernels.h"

// Projections and gradients of adapters on compute capability 9.0, whose blocks keep more of the activations
// on their way than other GPUs have shared memory for. Up to `most_joined` of them, with as many rows and
// ranks each, are one launch.
namespace wick::cuda::hopper {

/// Of higher ranks there would be too few rows in a block, each of which reads the whole factor.
inline constexpr std::int64_t most_projection_rank = 16;
void launch_lora_projections(std::span<const LoraProjection> members, cudaStream_t stream);

/// Takes no memory for parts.
void launch_lora_gradients(std::span<const LoraGradient> members, cudaStream_t stream);
/// Of up to 16 ranks.
void launch_low_lora_gradients(std::span<const LoraGradient> members, cudaStream_t stream);

}  // namespace wick::cuda::hopper
