#include "backend/cuda/stream.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <new>

#include "backend/cuda/check.h"
#include "backend/cuda/gpu.h"
#include "core/spin.h"

namespace wick::cuda {

namespace {

/// As the planner pads places in an arena: what lies there behind one another can be copied as one.
constexpr std::size_t padded(std::size_t bytes) { return (bytes + 63) / 64 * 64; }
constexpr std::size_t most_staged = std::size_t{4} << 20;

}  // namespace

Launch& current_launch() noexcept {
  thread_local Launch launch;
  return launch;
}

ThreadStream& ThreadStream::of(int device) {
  thread_local std::array<std::unique_ptr<ThreadStream>, most_gpus> streams;
  auto& stream = streams[static_cast<std::size_t>(device)];
  if (!stream) stream = std::make_unique<ThreadStream>(device);
  return *stream;
}

ThreadStream::ThreadStream(int device) : device_(device) {
  const GpuScope gpu(device);
  check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "creating a stream");
  check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "creating an event");
  void* fault = nullptr;
  check(cudaHostAlloc(&fault, sizeof(Fault), cudaHostAllocMapped), "allocating pinned memory");
  fault_ = new (fault) Fault;
}

ThreadStream::~ThreadStream() {
  // At the end of the process the driver may be gone already; then these calls fail, and nothing is lost.
  cudaSetDevice(device_);  // the thread ends here
  cudaEventDestroy(event_);
  cudaStreamDestroy(stream_);
  cudaFreeHost(fault_);
  cudaFreeHost(staging_);
}

std::byte* ThreadStream::staging(std::size_t bytes) {
  if (bytes <= staging_bytes_) return staging_;
  cudaFreeHost(staging_);
  staging_ = nullptr;
  staging_bytes_ = 0;
  const std::size_t size = std::max<std::size_t>(bytes, std::size_t{1} << 20);
  void* memory = nullptr;
  check(cudaHostAlloc(&memory, size, cudaHostAllocDefault), "allocating pinned memory");
  staging_ = static_cast<std::byte*>(memory);
  staging_bytes_ = size;
  return staging_;
}

void ThreadStream::send(std::span<const Transfer> transfers) {
  std::size_t total = 0;
  for (const Transfer& t : transfers) total += padded(t.bytes);
  if (total == 0) return;
  if (total > most_staged) {  // the driver's own staging is as good for what is large
    for (const Transfer& t : transfers)
      check(cudaMemcpyAsync(t.to, t.host, t.bytes, cudaMemcpyHostToDevice, stream_), "copying to the GPU");
    return;
  }
  if (staging_in_use_) synchronize();
  std::byte* const pinned = staging(total);
  // Runs of transfers that lie behind one another go in one copy.
  std::size_t at = 0;
  for (std::size_t i = 0; i < transfers.size();) {
    std::byte* const to = transfers[i].to;
    const std::size_t start = at;
    for (; i < transfers.size() && transfers[i].to == to + (at - start); ++i) {
      if (transfers[i].bytes > 0) std::memcpy(pinned + at, transfers[i].host, transfers[i].bytes);
      at += padded(transfers[i].bytes);
    }
    check(cudaMemcpyAsync(to, pinned + start, at - start, cudaMemcpyHostToDevice, stream_),
          "copying to the GPU");
  }
  staging_in_use_ = true;
}

void ThreadStream::synchronize() {
  check(cudaEventRecord(event_, stream_), "recording an event");
  for (Patience patience;; patience.pause()) {
    const cudaError_t status = cudaEventQuery(event_);
    if (status == cudaSuccess) break;
    if (status != cudaErrorNotReady) check(status, "running on the GPU");
  }
  staging_in_use_ = false;
}

}  // namespace wick::cuda
