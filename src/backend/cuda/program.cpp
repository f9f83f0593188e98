#include "backend/cuda/program.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "backend/backend.h"
#include "backend/cuda/check.h"
#include "backend/cuda/gpu.h"
#include "backend/cuda/stream.h"
#include "backend/run_step.h"
#include "core/spin.h"
#include "wick/error.h"

namespace wick::cuda {
namespace {

/// WICK_CUDA_SYNC=1: every step is waited for, so that an error names the step that it is of.
bool waits_for_each_step() {
  static const bool waits = std::getenv("WICK_CUDA_SYNC") != nullptr;
  return waits;
}

constexpr std::uint64_t most_moved_bytes = std::uint64_t{4} << 20;     // of one value
constexpr std::uint64_t most_staged_bytes = std::uint64_t{256} << 10;  // of all transfers

ReplayChoice choice_for(std::span<const BaseUse> bases) {
  std::vector<std::uint64_t> movable;
  std::uint32_t first_result = 0;
  for (const BaseUse& base : bases) {
    movable.push_back(base.movable && base.bytes <= most_moved_bytes ? base.bytes : 0);
    if (!base.is_result) first_result = static_cast<std::uint32_t>(movable.size());
  }
  return {std::move(movable), first_result};
}

}  // namespace

/// A replay that was launched. `program`'s plan must outlive it.
class CudaProgram::Run final : public RunningProgram {
 public:
  Run(const CudaProgram& program, Replay& replay, unsigned int number)
      : program_(program), replay_(replay), number_(number) {}
  ~Run() override {
    if (!ended_) (void)end();
  }
  bool wait_briefly() override {
    for (unsigned poll = 0; poll < Patience::polls; ++poll) {
      if (over()) return true;
      patience_.pause();
    }
    // A fault of the device shows here only: its kernels end nothing then.
    if (++looks_ % 16 == 0) {
      const cudaError_t status = cudaStreamQuery(replay_.stream());
      if (status != cudaSuccess && status != cudaErrorNotReady) error_ = status;
    }
    return over();
  }
  void wait() override {
    const Fault fault = end();
    check(error_, "running on the GPU");
    check_fault(fault);
  }

 private:
  bool over() const { return error_ != cudaSuccess || replay_.over(number_); }
  Fault end() {
    while (!wait_briefly()) {
    }
    ended_ = true;
    std::lock_guard lock(program_.mutex_);
    return replay_.end(number_);
  }

  const CudaProgram& program_;
  Replay& replay_;
  const unsigned int number_;
  bool ended_ = false;
  cudaError_t error_ = cudaSuccess;
  unsigned int looks_ = 0;
  Patience patience_;
};

CudaProgram::CudaProgram(std::span<const Step> steps, std::span<const BaseUse> bases, int device)
    : steps_(steps), device_(device), choice_(choice_for(bases)) {}

std::unique_ptr<RunningProgram> CudaProgram::start(std::span<std::byte* const> bases,
                                                   std::span<const Transfer> transfers,
                                                   std::span<StepWatcher* const> watchers) const {
  const GpuScope gpu(device_);
  ThreadStream& stream = ThreadStream::of(device_);
  if (watchers.empty() && !waits_for_each_step()) {
    std::uint64_t bytes = 0;
    for (const Transfer& t : transfers) bytes += t.bytes;
    if (bytes > most_staged_bytes) {
      stream.send(transfers);
      transfers = {};
    }
    if (auto run = replay(bases, transfers, stream.handle())) return run;
  }
  stream.send(transfers);
  if (!watchers.empty()) stream.synchronize();  // the transfers are no part of the first step
  const LaunchScope scope({stream.handle(), &stream.fault()});
  launch_steps(bases, watchers);
  stream.synchronize();
  check_fault(std::exchange(stream.fault(), {}));
  return nullptr;
}

void CudaProgram::launch_steps(std::span<std::byte* const> bases,
                               std::span<StepWatcher* const> watchers) const {
  std::vector<const void*> inputs;
  const cudaStream_t stream = current_launch().stream;
  for (std::uint32_t s = 0; s < steps_.size(); ++s) {
    const Step& step = steps_[s];
    inputs.clear();
    for (const Address& input : step.inputs) inputs.push_back(resolve(input, bases));
    current_launch().step = s;
    try {
      for (StepWatcher* watcher : watchers) watcher->begin_step(s);
      run_step(step, inputs.data(), bases);
      if (!watchers.empty() || waits_for_each_step()) check(cudaStreamSynchronize(stream), "a step");
      for (StepWatcher* watcher : watchers) watcher->end_step(s, resolve(step.output, bases));
    } catch (const Error&) {
      throw StepFault{s, std::current_exception()};
    }
  }
}

std::unique_ptr<RunningProgram> CudaProgram::replay(std::span<std::byte* const> bases,
                                                    std::span<const Transfer> transfers,
                                                    cudaStream_t stream) const {
  std::lock_guard lock(mutex_);
  if (!std::exchange(ran_, true)) return nullptr;
  const auto chosen = choice_.choose(bases, [&](std::size_t graph) { return replays_[graph]->in_flight(); });
  if (!chosen) return nullptr;
  if (chosen->graph == replays_.size()) replays_.push_back(std::make_unique<Replay>(device_));
  Replay& replay = *replays_[chosen->graph];
  if (!replay.can_launch(stream)) return nullptr;
  if (chosen->capture) {
    try {
      replay.capture(bases, choice_.moved(chosen->graph), transfers, stream,
                     [&](std::span<std::byte* const> addresses) { launch_steps(addresses); });
    } catch (...) {
      choice_.forget(chosen->graph);
      throw;
    }
  }
  replay.use(stream);
  return std::make_unique<Run>(*this, replay, replay.launch(bases, transfers));
}

void CudaProgram::release_kept_memory() const {
  const GpuScope gpu(device_);
  std::lock_guard lock(mutex_);
  for (std::size_t graph = 0; graph < replays_.size(); ++graph) {
    if (replays_[graph]->in_flight()) continue;
    choice_.forget(graph);
    replays_[graph] = std::make_unique<Replay>(device_);
  }
}

void CudaProgram::check_fault(const Fault& fault) {
  if (fault.step == 0) return;
  throw StepFault{fault.step - 1,
                  std::make_exception_ptr(ArgumentError(fmt::format(
                      "index {} is out of range for a dimension of size {}", fault.index, fault.size)))};
}

}  // namespace wick::cuda
