#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "backend/cuda/launch.h"

namespace wick::cuda {

/// Replays of one graph that may be launched before the first of them is over.
inline constexpr unsigned int replay_depth = 4;

/// Bytes that a replay moves between addresses that change from one to the next and fixed ones.
struct Move {
  const std::byte* from;
  std::byte* to;
  std::uint64_t bytes;
};

/// What a graph's kernels know of its replays, in the device's memory. Zero before the first.
struct ReplayState {
  Fault fault;
  unsigned int over = 0;  ///< replays that are over
};

/// What the host sees of replay number n (from 0) in its place, n modulo `replay_depth`, in pinned memory.
struct ReplayEnd {
  Fault fault;
  unsigned int over = 0;  ///< n + 1 once the replay is over; written last
};

/// Makes moves [first, first + count) of the running replay. Its list is in pinned memory, `stride` moves
/// behind that of the replay before; `most_bytes` is what the largest of them moves.
void launch_moves(const Move* lists, unsigned int stride, unsigned int first, unsigned int count,
                  std::uint64_t most_bytes, const ReplayState* state, cudaStream_t stream);

/// Ends the running replay: tells the host in `ends`, clears the fault and counts.
void launch_end(ReplayState* state, ReplayEnd* ends, cudaStream_t stream);

}  // namespace wick::cuda
