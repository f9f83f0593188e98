#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <memory>
#include <span>

#include "backend/cuda/launch.h"
#include "backend/step.h"

namespace wick::cuda {

/// A stream of one GPU with what launching on it needs: pinned memory for transfers and for faults, an event.
/// Belongs to one thread.
class ThreadStream {
 public:
  /// That of the calling thread for a GPU, which must be current.
  static ThreadStream& of(int device);

  explicit ThreadStream(int device);
  ~ThreadStream();
  ThreadStream(const ThreadStream&) = delete;
  ThreadStream& operator=(const ThreadStream&) = delete;

  cudaStream_t handle() const noexcept { return stream_; }
  /// The word that kernels write when data is bad.
  Fault& fault() noexcept { return *fault_; }
  /// Copies in the order of the stream, rounded up to 64 bytes each. The host's memory may be changed as soon
  /// as this returns.
  void send(std::span<const Transfer> transfers);
  /// Waits for all that was launched, by polling: a fault of the device then surfaces here as DeviceError.
  void synchronize();

 private:
  std::byte* staging(std::size_t bytes);

  const int device_;
  cudaStream_t stream_ = nullptr;
  cudaEvent_t event_ = nullptr;
  Fault* fault_ = nullptr;
  std::byte* staging_ = nullptr;
  std::size_t staging_bytes_ = 0;
  bool staging_in_use_ = false;
};

}  // namespace wick::cuda
