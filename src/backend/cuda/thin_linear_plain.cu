#include "backend/cuda/attention.cuh"
#include "backend/cuda/device/launch_order.cuh"
#include "backend/cuda/dispatch.cuh"
#include "backend/cuda/launch_kernel.h"
#include "backend/cuda/thin_linear.cuh"

// Any depth and any addresses: a warp takes an output of a row.
namespace wick::cuda {
namespace {

constexpr int threads = 128;

template <typename T>
__global__ void __launch_bounds__(threads) multiply_plain(const __grid_constant__ ThinLinearProblem p) {
  begin_in_order();
  const std::int64_t at = (std::int64_t{blockIdx.x} * threads + threadIdx.x) / 32;
  if (at >= std::int64_t{p.rows} * p.outputs) return;
  const int output = static_cast<int>(at % p.outputs);
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const T* const x = static_cast<const T*>(p.x) + at / p.outputs * p.depth;
  const MatrixRow rows[2] = {MatrixRow(p, output, 0), MatrixRow(p, output, 1)};
  const T* const first = rows[0].begin<T>(p);
  const T* const second = p.gated ? rows[1].begin<T>(p) : first;
  float sums[2] = {};
  float squares = 0;
  for (int k = lane; k < p.depth; k += 32) {
    const float value = read(x[k]);
    const float weighted = p.norm ? value * read(static_cast<const T*>(p.norm)[k]) : value;
    squares = fmaf(value, value, squares);
    sums[0] = fmaf(weighted, read(first[k]), sums[0]);
    sums[1] = fmaf(weighted, read(second[k]), sums[1]);
  }
  const float scale = p.norm ? inverse_rms(p, warp_sum(squares)) : 1.0f;
  float result = warp_sum(sums[0]) * scale + rows[0].bias<T>(p);
  const float up = warp_sum(sums[1]) * scale + rows[1].bias<T>(p);
  if (p.gated) result = gated(result, up);
  if (p.residual) result += read(static_cast<const T*>(p.residual)[at]);
  if (lane == 0) static_cast<T*>(p.out)[at] = written<T>(result);
}

}  // namespace

void launch_thin_linear_plain(DType dtype, const ThinLinearProblem& p, cudaStream_t stream) {
  const std::int64_t warps = std::int64_t{p.rows} * p.outputs;
  visit_half(dtype, [&]<typename T>() {
    launch_kernel(multiply_plain<T>, {static_cast<unsigned>((warps * 32 + threads - 1) / threads), threads},
                  stream, "a linear layer of few rows", p);
  });
}

}  // namespace wick::cuda
