#include <algorithm>
#include <cstdint>

#include "backend/cuda/check.h"
#include "backend/cuda/replay_kernels.h"

namespace wick::cuda {
namespace {

constexpr unsigned int block_threads = 256;
/// Bytes that a block moves before another one pays.
constexpr std::uint64_t bytes_a_block = std::uint64_t{block_threads} * sizeof(uint4) * 4;
constexpr std::uint64_t most_blocks = 64;

/// Either side may be the host's memory, written or read while no kernel ran: no cache is trusted.
template <typename T>
__device__ void move_words(const Move& move) {
  const auto* from = reinterpret_cast<const T*>(move.from);
  auto* to = reinterpret_cast<T*>(move.to);
  const std::uint64_t words = move.bytes / sizeof(T);
  for (std::uint64_t i = blockIdx.x * block_threads + threadIdx.x; i < words;
       i += std::uint64_t{gridDim.x} * block_threads)
    to[i] = __ldcv(from + i);
}

__global__ void __launch_bounds__(block_threads)
    make_moves(const Move* lists, unsigned int stride, unsigned int first, const ReplayState* state) {
  // Read by one thread: the host's memory answers each warp that asks, one after the other.
  __shared__ Move move;
  if (threadIdx.x == 0) {
    const volatile Move* const place = lists + (state->over % replay_depth) * stride + first + blockIdx.y;
    move.from = place->from;
    move.to = place->to;
    move.bytes = place->bytes;
  }
  __syncthreads();
  const auto alignment =
      reinterpret_cast<std::uintptr_t>(move.from) | reinterpret_cast<std::uintptr_t>(move.to) | move.bytes;
  if (alignment % sizeof(uint4) == 0)
    move_words<uint4>(move);
  else if (alignment % sizeof(unsigned int) == 0)
    move_words<unsigned int>(move);
  else
    move_words<unsigned char>(move);
}

__global__ void end(ReplayState* state, ReplayEnd* ends) {
  ReplayEnd* const place = ends + state->over % replay_depth;
  place->fault = state->fault;
  state->fault = {};
  const unsigned int over = ++state->over;
  __threadfence_system();
  *static_cast<volatile unsigned int*>(&place->over) = over;
}

}  // namespace

void launch_moves(const Move* lists, unsigned int stride, unsigned int first, unsigned int count,
                  std::uint64_t most_bytes, const ReplayState* state, cudaStream_t stream) {
  if (count == 0) return;
  const std::uint64_t blocks =
      std::clamp<std::uint64_t>((most_bytes + bytes_a_block - 1) / bytes_a_block, 1, most_blocks);
  make_moves<<<dim3(static_cast<unsigned int>(blocks), count), block_threads, 0, stream>>>(lists, stride,
                                                                                           first, state);
  check_launch("moving what lies elsewhere at each evaluation");
}

void launch_end(ReplayState* state, ReplayEnd* ends, cudaStream_t stream) {
  end<<<1, 1, 0, stream>>>(state, ends);
  check_launch("ending an evaluation");
}

}  // namespace wick::cuda
