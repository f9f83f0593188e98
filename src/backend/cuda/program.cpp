#include "backend/cuda/program.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <new>

#include "backend/backend.h"
#include "backend/cuda/check.h"
#include "backend/cuda/gpu.h"
#include "backend/cuda/stream.h"
#include "backend/run_step.h"
#include "wick/error.h"

namespace wick::cuda {
namespace {

/// WICK_CUDA_SYNC=1: every step is waited for, so that an error names the step that it is of.
bool waits_for_each_step() {
  static const bool waits = std::getenv("WICK_CUDA_SYNC") != nullptr;
  return waits;
}

class LaunchScope {
 public:
  explicit LaunchScope(const Launch& launch) : previous_(current_launch()) { current_launch() = launch; }
  ~LaunchScope() { current_launch() = previous_; }
  LaunchScope(const LaunchScope&) = delete;
  LaunchScope& operator=(const LaunchScope&) = delete;

 private:
  Launch previous_;
};

}  // namespace

CudaProgram::~CudaProgram() {
  for (const auto& replay : replays_) {
    if (replay->graph) cudaGraphExecDestroy(replay->graph);
    cudaFreeHost(replay->fault);
  }
}

void CudaProgram::run(std::span<std::byte* const> bases, std::span<const Transfer> transfers,
                      std::span<StepWatcher* const> watchers) const {
  const GpuScope gpu(device_);
  ThreadStream& stream = ThreadStream::of(device_);
  stream.send(transfers);
  if (!watchers.empty()) stream.synchronize();  // the transfers are no part of the first step
  Replay* const replay = watchers.empty() ? take_replay(bases, stream.handle()) : nullptr;
  if (!replay) {
    launch_steps(bases, stream.handle(), &stream.fault(), watchers);
    stream.synchronize();
    return check_fault(stream.fault());
  }
  const auto over = [&] {
    std::lock_guard lock(mutex_);
    replay->running = false;
  };
  try {
    check(cudaGraphLaunch(replay->graph, stream.handle()), "launching a graph");
    stream.synchronize();
    check_fault(*replay->fault);
  } catch (...) {
    over();
    throw;
  }
  over();
}

void CudaProgram::launch_steps(std::span<std::byte* const> bases, cudaStream_t stream, Fault* fault,
                               std::span<StepWatcher* const> watchers) const {
  std::vector<const void*> inputs;
  const LaunchScope scope({stream, fault, 0});
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

CudaProgram::Replay* CudaProgram::take_replay(std::span<std::byte* const> bases, cudaStream_t stream) const {
  if (steps_.size() < 2 || waits_for_each_step()) return nullptr;
  std::lock_guard lock(mutex_);
  if (++runs_ < 2) return nullptr;
  const auto found = std::find_if(replays_.begin(), replays_.end(), [&](const auto& r) {
    return std::equal(bases.begin(), bases.end(), r->bases.begin(), r->bases.end());
  });
  Replay* replay = found == replays_.end() ? nullptr : found->get();
  if (!replay && replays_.size() < most_replays) {
    replay = replays_.emplace_back(std::make_unique<Replay>()).get();
    void* fault = nullptr;
    check(cudaHostAlloc(&fault, sizeof(Fault), cudaHostAllocMapped), "allocating pinned memory");
    replay->fault = new (fault) Fault;
  } else if (!replay) {
    replay = std::min_element(replays_.begin(), replays_.end(), [](const auto& a, const auto& b) {
               return a->last_use < b->last_use;
             })->get();
  }
  if (replay->running) return nullptr;
  replay->last_use = runs_;
  if (replay->bases.empty() || found == replays_.end()) capture(*replay, bases, stream);
  replay->running = true;
  return replay;
}

void CudaProgram::capture(Replay& replay, std::span<std::byte* const> bases, cudaStream_t stream) const {
  replay.bases.clear();  // of nothing, should this fail
  cudaGraph_t graph = nullptr;
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "capturing a graph");
  try {
    launch_steps(bases, stream, replay.fault);
  } catch (...) {
    cudaStreamEndCapture(stream, &graph);
    if (graph) cudaGraphDestroy(graph);
    throw;
  }
  check(cudaStreamEndCapture(stream, &graph), "capturing a graph");
  cudaGraphExecUpdateResultInfo info{};
  if (replay.graph && cudaGraphExecUpdate(replay.graph, graph, &info) != cudaSuccess) {
    (void)cudaGetLastError();  // the graph is made anew
    cudaGraphExecDestroy(replay.graph);
    replay.graph = nullptr;
  }
  cudaError_t status = cudaSuccess;
  if (!replay.graph) status = cudaGraphInstantiate(&replay.graph, graph, 0);
  cudaGraphDestroy(graph);
  check(status, "instantiating a graph");
  replay.bases.assign(bases.begin(), bases.end());
}

void CudaProgram::check_fault(Fault& fault) {
  if (fault.step == 0) return;
  const Fault found = fault;
  fault = {};
  throw StepFault{found.step - 1,
                  std::make_exception_ptr(ArgumentError(fmt::format(
                      "index {} is out of range for a dimension of size {}", found.index, found.size)))};
}

}  // namespace wick::cuda
