#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace wick::cuda {

/// Where a kernel tells of bad data, in memory that the device writes. The first fault stays.
struct Fault {
  unsigned int step = 0;  ///< of the plan, plus 1; 0: none
  long long index = 0;    ///< the one that is out of range
  long long size = 0;     ///< of the dimension that it counts in
};

/// Where the kernels of the step that is being launched go.
struct Launch {
  cudaStream_t stream = nullptr;
  Fault* fault = nullptr;  ///< as the device sees it
  std::uint32_t step = 0;
  bool leaves_room = false;  ///< the kernel that was launched last, for the next one to begin early
};

/// The launch that this thread is making; kernels read it in Kernel::run.
Launch& current_launch() noexcept;

/// Makes a launch this thread's for as long as it lives.
class LaunchScope {
 public:
  explicit LaunchScope(const Launch& launch) : previous_(current_launch()) { current_launch() = launch; }
  ~LaunchScope() { current_launch() = previous_; }
  LaunchScope(const LaunchScope&) = delete;
  LaunchScope& operator=(const LaunchScope&) = delete;

 private:
  Launch previous_;
};

}  // namespace wick::cuda
