#pragma once

#include <mutex>
#include <vector>

#include "backend/cuda/launch.h"
#include "backend/cuda/replay.h"
#include "backend/step.h"

namespace wick::cuda {

/// The steps of a plan on a GPU. The first run launches them one by one; from the second on they are captured
/// as CUDA graphs and replayed.
class CudaProgram final : public Program {
 public:
  CudaProgram(std::span<const Step> steps, std::span<const BaseUse> bases, int device);

  std::unique_ptr<RunningProgram> start(std::span<std::byte* const> bases,
                                        std::span<const Transfer> transfers,
                                        std::span<StepWatcher* const> watchers) const override;
  void release_kept_memory() const override;

 private:
  class Run;

  /// As part of the current launch; with watchers, each step is waited for.
  void launch_steps(std::span<std::byte* const> bases, std::span<StepWatcher* const> watchers = {}) const;
  /// A launch of a graph; null where the steps are better launched one by one.
  std::unique_ptr<RunningProgram> replay(std::span<std::byte* const> bases,
                                         std::span<const Transfer> transfers, cudaStream_t stream) const;
  /// Throws StepFault when a kernel reported one.
  static void check_fault(const Fault& fault);

  const std::span<const Step> steps_;
  const int device_;
  mutable std::mutex mutex_;
  mutable ReplayChoice choice_;
  mutable std::vector<std::unique_ptr<Replay>> replays_;  // as `choice_` numbers them
  mutable bool ran_ = false;
};

}  // namespace wick::cuda
