#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "wick/dtype.h"

namespace wick::cuda {

/// Linear layers on few rows of 16-bit floats, with what stands around them, as `ops/thin_linear.h` says. All
/// matrices are row-major.
struct ThinLinearProblem {
  static constexpr int most_rows = 64;
  static constexpr int most_parts = 3;
  struct Part {
    const void* matrix;  ///< [outputs, depth]
    const void* bias;    ///< [outputs]; null: none
    int outputs;
  };
  Part parts[most_parts];
  int part_count;
  const void* x;         ///< [rows, depth]
  const void* norm;      ///< [depth], of an RMS norm of x; null: none
  const void* residual;  ///< [rows, outputs], added; null: none
  void* out;             ///< [rows, outputs]
  int rows, depth, outputs;
  float eps;
  bool gated;     ///< two parts: silu(the first) times the second
  bool constant;  ///< the matrices can be read while the kernels ahead run
};

/// Any depth and addresses.
void launch_thin_linear_plain(DType dtype, const ThinLinearProblem& problem, cudaStream_t stream);
/// Of one row; here and below rows of 16-byte multiples at aligned addresses, and compute capability 9.0.
void launch_thin_linear_of_one(DType dtype, const ThinLinearProblem& problem, cudaStream_t stream);
/// The same of bf16 and faster, where the GPU's registers hold the matrices as a whole; else false, and
/// nothing was launched.
bool launch_held_thin_linear(const ThinLinearProblem& problem, cudaStream_t stream);
/// Of any number: blocks take 64 outputs by all rows, clusters of them split the depth. The scratch memory is
/// for the rows as the norm makes them.
std::size_t thin_linear_tiles_scratch(const ThinLinearProblem& problem);
void launch_thin_linear_tiles(DType dtype, ThinLinearProblem problem, void* scratch, cudaStream_t stream);

}  // namespace wick::cuda
