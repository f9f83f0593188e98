#include "backend/cuda/attention.cuh"
#include "backend/cuda/device/launch_order.cuh"
#include "backend/cuda/dispatch.cuh"
#include "backend/cuda/grid.h"
#include "backend/cuda/launch_kernel.h"

namespace wick::cuda {
namespace {

constexpr int block_threads = 256;

/// A thread takes a pair of a row of [batch, length, heads, d].
template <typename T>
__global__ void __launch_bounds__(block_threads)
    rotate_rows_back(const AttentionGradientProblem g, T* rows, const std::int64_t heads,
                     const std::int64_t length, const std::int64_t pairs) {
  begin_in_order();
  const auto half = static_cast<int>(g.forward.d / 2);
  for (std::int64_t i = blockIdx.x * std::int64_t{block_threads} + threadIdx.x; i < pairs;
       i += gridDim.x * std::int64_t{block_threads}) {
    const std::int64_t row = i / half;
    const auto pair = static_cast<int>(i % half);
    const std::int64_t position = row / heads;
    T* const at = rows + row * 2 * half + pair;
    float x1 = read(at[0]);
    float x2 = read(at[half]);
    rotate_back(g, position / length, position % length, pair, x1, x2);
    at[0] = written<T>(x1);
    at[half] = written<T>(x2);
  }
}

}  // namespace

void launch_rotation_back(const AttentionGradientProblem& g, cudaStream_t stream) {
  if (!g.cos.data) return;
  const AttentionProblem& p = g.forward;
  visit_narrow(p.dtype, [&]<typename T>() {
    const auto launch = [&](void* rows, std::int64_t heads, std::int64_t length) {
      const std::int64_t pairs = p.batch * heads * length * p.d / 2;
      launch_kernel(rotate_rows_back<T>, {blocks_for(pairs, block_threads), block_threads}, stream,
                    "the gradient of attention", g, static_cast<T*>(rows), heads, length, pairs);
    };
    launch(g.q_gradient, p.heads, p.m);
    launch(g.k_gradient, p.kv_heads, p.n);
  });
}

}  // namespace wick::cuda
