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

/// Moves [first, first + count) of a replay's list.
struct MoveRange {
  unsigned int first;
  unsigned int count;
  std::uint64_t most_bytes;  ///< that one of them moves
};

/// What a graph's kernels know of its replays, in the device's memory. Zero before the first.
struct ReplayState {
  Fault fault;
  unsigned int over = 0;  ///< replays that are over
};

/// What the host sees of replay number n (from 0) in its place, n modulo `replay_depth`, in pinned memory.
struct ReplayEnd {
  Fault fault;            ///< written where there is one; the host clears it
  unsigned int over = 0;  ///< n + 1 once the replay is over; written last
};

/// Where the host and a graph's kernels meet. Replay number n's slot, n modulo `replay_depth`, holds its list
/// of moves and the bytes that it brings along.
struct ReplayMemory {
  std::byte* slots = nullptr;    ///< pinned
  std::uint64_t slot_bytes = 0;  ///< a multiple of 16
  std::byte* arrived = nullptr;  ///< the running replay's slot, on the device
  ReplayState* state = nullptr;
  ReplayEnd* ends = nullptr;
};

/// Brings the running replay's slot to the device and makes these moves.
void launch_begin(const ReplayMemory& memory, const MoveRange& moves, cudaStream_t stream);

/// Makes these moves and ends the running replay: tells the host, clears the fault and counts.
void launch_end(const ReplayMemory& memory, const MoveRange& moves, cudaStream_t stream);

}  // namespace wick::cuda
