#include <algorithm>
#include <cstdint>

#include "backend/cuda/device/launch_order.cuh"
#include "backend/cuda/launch_kernel.h"
#include "backend/cuda/replay_kernels.h"

namespace wick::cuda {
namespace {

constexpr unsigned int block_threads = 256;
/// Bytes that a block moves before another one pays.
constexpr std::uint64_t bytes_a_block = std::uint64_t{block_threads} * sizeof(uint4) * 4;
constexpr std::uint64_t most_blocks = 64;

unsigned int blocks_for_bytes(std::uint64_t bytes) {
  return static_cast<unsigned int>(
      std::clamp<std::uint64_t>((bytes + bytes_a_block - 1) / bytes_a_block, 1, most_blocks));
}

/// Whether the block that begins or ends a replay makes these moves, a warp each; else they have their own.
bool are_few(const MoveRange& moves) {
  return moves.count <= 2 * block_threads / 32 && moves.most_bytes <= 4096;
}

template <typename T>
__device__ void move_words(const Move& move, unsigned int first, unsigned int step) {
  const auto* from = reinterpret_cast<const T*>(move.from);
  auto* to = reinterpret_cast<T*>(move.to);
  const std::uint64_t words = move.bytes / sizeof(T);
#pragma unroll 4
  for (std::uint64_t i = first; i < words; i += step) to[i] = from[i];
}

/// By `step` threads, of which this is number `first`.
__device__ void make_move(const Move& move, unsigned int first, unsigned int step) {
  const auto alignment =
      reinterpret_cast<std::uintptr_t>(move.from) | reinterpret_cast<std::uintptr_t>(move.to) | move.bytes;
  if (alignment % sizeof(uint4) == 0)
    move_words<uint4>(move, first, step);
  else if (alignment % sizeof(unsigned int) == 0)
    move_words<unsigned int>(move, first, step);
  else
    move_words<unsigned char>(move, first, step);
}

__device__ void make_few_moves(const Move* moves, unsigned int count) {
  for (unsigned int m = threadIdx.x / 32; m < count; m += block_threads / 32)
    make_move(moves[m], threadIdx.x % 32, 32);
}

__global__ void __launch_bounds__(block_threads) make_moves(const Move* moves) {
  begin_in_order();
  make_move(moves[blockIdx.y], blockIdx.x * block_threads + threadIdx.x, gridDim.x * block_threads);
}

/// The host's memory answers one request after the other: the slot is read once, as a whole, and no cache is
/// trusted with what was written while no kernel ran. The only block of several moves makes `few` of them.
__global__ void __launch_bounds__(block_threads) begin(ReplayMemory memory, unsigned int few) {
  begin_in_order();
  const std::uint64_t words = memory.slot_bytes / sizeof(uint4);
  const auto* from = reinterpret_cast<const uint4*>(memory.slots) + memory.state->over % replay_depth * words;
  auto* to = reinterpret_cast<uint4*>(memory.arrived);
  for (std::uint64_t i = blockIdx.x * block_threads + threadIdx.x; i < words; i += gridDim.x * block_threads)
    to[i] = __ldcv(from + i);
  if (few == 0) return;
  __syncthreads();
  make_few_moves(reinterpret_cast<const Move*>(memory.arrived), few);
}

/// Most replays have no fault and no moves, and tell the host by one store that waits for no other.
__global__ void __launch_bounds__(block_threads) end(ReplayMemory memory, MoveRange moves) {
  ReplayState* const state = memory.state;
  // No kernel ahead writes it; but they may write the fault, which must not get into a cache with it.
  const unsigned int before = __ldcg(&state->over);
  wait_for_kernels_ahead();
  make_few_moves(reinterpret_cast<const Move*>(memory.arrived) + moves.first, moves.count);
  __syncthreads();
  if (threadIdx.x != 0) return;
  ReplayEnd* const place = memory.ends + before % replay_depth;
  const bool failed = state->fault.step != 0;
  if (failed) {
    place->fault = state->fault;
    state->fault = {};
  }
  state->over = before + 1;
  if (failed || moves.count > 0) __threadfence_system();
  *static_cast<volatile unsigned int*>(&place->over) = before + 1;
}

void launch_moves(const ReplayMemory& memory, const MoveRange& moves, cudaStream_t stream) {
  launch_kernel(make_moves, {dim3(blocks_for_bytes(moves.most_bytes), moves.count), block_threads}, stream,
                "moving what lies elsewhere at each evaluation",
                reinterpret_cast<const Move*>(memory.arrived) + moves.first);
}

}  // namespace

void launch_begin(const ReplayMemory& memory, const MoveRange& moves, cudaStream_t stream) {
  if (memory.slot_bytes == 0) return;
  const unsigned int blocks = blocks_for_bytes(memory.slot_bytes);
  const bool together = blocks == 1 && are_few(moves);
  launch_kernel(begin, {blocks, block_threads}, stream, "beginning an evaluation", memory,
                together ? moves.count : 0);
  if (!together && moves.count > 0) launch_moves(memory, moves, stream);
}

void launch_end(const ReplayMemory& memory, const MoveRange& moves, cudaStream_t stream) {
  const bool together = are_few(moves);
  if (!together) launch_moves(memory, moves, stream);
  launch_kernel(end, {1, block_threads}, stream, "ending an evaluation", memory,
                together ? moves : MoveRange{});
}

}  // namespace wick::cuda
