#pragma once

#include "backend/cuda/device/numbers.cuh"
#include "backend/cuda/thin_linear.h"

// What the kernels of linear layers on few rows share.
namespace wick::cuda {

/// The floats of a pair of bf16.
__device__ inline float low_of(std::uint32_t pair) { return __uint_as_float(pair << 16); }
__device__ inline float high_of(std::uint32_t pair) { return __uint_as_float(pair & 0xffff0000); }

/// Which row of which matrix makes an output; of a gated layer, the output of part `half`.
struct MatrixRow {
  int part = 0;
  int row;
  __device__ MatrixRow(const ThinLinearProblem& p, int output, int half) : row(output) {
    if (p.gated) {
      part = half;
      return;
    }
    while (part + 1 < p.part_count && row >= p.parts[part].outputs) row -= p.parts[part++].outputs;
  }
  template <typename T>
  __device__ const T* begin(const ThinLinearProblem& p) const {
    return static_cast<const T*>(p.parts[part].matrix) + static_cast<std::int64_t>(row) * p.depth;
  }
  template <typename T>
  __device__ float bias(const ThinLinearProblem& p) const {
    const void* const bias = p.parts[part].bias;
    return bias ? read(static_cast<const T*>(bias)[row]) : 0.0f;
  }
};

/// 1 / sqrt(mean of squares + eps)
__device__ inline float inverse_rms(const ThinLinearProblem& p, float squares) {
  return 1 / sqrtf(squares / static_cast<float>(p.depth) + p.eps);
}

__device__ inline float gated(float gate, float up) { return gate / (1 + __expf(-gate)) * up; }

}  // namespace wick::cuda
