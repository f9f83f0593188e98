#pragma once

#include <mutex>
#include <vector>

#include "backend/cuda/launch.h"
#include "backend/cuda/replay.h"
#include "backend/step.h"

namespace wick::cuda {

/// The steps of a plan on a GPU. The first run launches them one by one; from the second on they are captured
/// as a CUDA graph and replayed. A plan has few graphs, one for each set of addresses; where these do not do,
/// the small values whose addresses change are moved, and one graph serves all, until they stay again.
class CudaProgram final : public Program {
 public:
  CudaProgram(std::span<const Step> steps, std::span<const BaseUse> bases, int device);

  std::unique_ptr<RunningProgram> start(std::span<std::byte* const> bases,
                                        std::span<const Transfer> transfers,
                                        std::span<StepWatcher* const> watchers) const override;

 private:
  class Run;
  static constexpr std::size_t most_replays = 8;
  static constexpr std::uint64_t most_moved_bytes = std::uint64_t{4} << 20;     ///< of one value
  static constexpr std::uint64_t most_staged_bytes = std::uint64_t{256} << 10;  ///< of all transfers

  /// With watchers, each step is waited for.
  void launch_steps(std::span<std::byte* const> bases, cudaStream_t stream, Fault* fault,
                    std::span<StepWatcher* const> watchers = {}) const;
  /// A launch of a graph; null where the steps are better launched one by one.
  std::unique_ptr<RunningProgram> replay(std::span<std::byte* const> bases,
                                         std::span<const Transfer> transfers, cudaStream_t stream) const;
  MovedBases none_moved() const;
  const MovedBases& moved_for(std::span<std::byte* const> bases) const;
  /// The graph to capture anew; null where all are running.
  Replay* take_oldest() const;
  /// Throws StepFault when a kernel reported one.
  static void check_fault(const Fault& fault);

  const std::span<const Step> steps_;
  const int device_;
  std::vector<std::uint64_t> movable_;  // by base: the bytes that a graph may move, or 0
  mutable std::mutex mutex_;
  mutable MovedBases moved_;                              // of the graphs that will be captured
  mutable std::vector<std::unique_ptr<Replay>> replays_;  // the one used last at the back
  mutable bool ran_ = false;
};

}  // namespace wick::cuda
