#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <string>

namespace wick::cuda {

/// More GPUs than this in one machine are not used.
inline constexpr int most_gpus = 16;

/// While one lives, CUDA calls of this thread go to this GPU.
class GpuScope {
 public:
  explicit GpuScope(int device);
  ~GpuScope();
  GpuScope(const GpuScope&) = delete;
  GpuScope& operator=(const GpuScope&) = delete;

 private:
  int previous_ = 0;
};

/// Compute capability, e.g. 90, number of multiprocessors and name of the current GPU.
int compute_capability();
int multiprocessors();
std::string gpu_name();

}  // namespace wick::cuda
