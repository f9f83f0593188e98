#pragma once

#include <mutex>
#include <vector>

#include "backend/cuda/launch.h"
#include "backend/step.h"

namespace wick::cuda {

/// The steps of a plan on a GPU. The first run launches them one by one; from the second on they are captured
/// as a CUDA graph, one for each set of addresses, and replayed. The graphs of a plan are few: the one unused
/// for longest is updated to new addresses.
class CudaProgram final : public Program {
 public:
  CudaProgram(std::span<const Step> steps, int device) : steps_(steps), device_(device) {}
  ~CudaProgram() override;
  CudaProgram(const CudaProgram&) = delete;
  CudaProgram& operator=(const CudaProgram&) = delete;

  void run(std::span<std::byte* const> bases, std::span<const Transfer> transfers,
           std::span<StepWatcher* const> watchers) const override;

 private:
  /// A captured graph with the addresses that it is of, and the fault word that its kernels write.
  struct Replay {
    std::vector<std::byte*> bases;
    cudaGraphExec_t graph = nullptr;
    Fault* fault = nullptr;
    std::uint64_t last_use = 0;
    bool running = false;
  };
  static constexpr std::size_t most_replays = 4;

  /// With watchers, each step is waited for.
  void launch_steps(std::span<std::byte* const> bases, cudaStream_t stream, Fault* fault,
                    std::span<StepWatcher* const> watchers = {}) const;
  /// The graph for these addresses, marked as running; null where the steps are better launched one by one.
  Replay* take_replay(std::span<std::byte* const> bases, cudaStream_t stream) const;
  void capture(Replay& replay, std::span<std::byte* const> bases, cudaStream_t stream) const;
  /// Throws StepFault when a kernel reported one, and clears it.
  static void check_fault(Fault& fault);

  const std::span<const Step> steps_;
  const int device_;
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Replay>> replays_;
  mutable std::uint64_t runs_ = 0;
};

}  // namespace wick::cuda
