#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <string>

namespace wick::cuda {

/// More GPUs than this in one machine are not used.
inline constexpr int most_gpus = 16;

/// While one lives, CUDA calls of this thread go to this GPU; then again to the one before, if that was in
/// use.
class GpuScope {
 public:
  explicit GpuScope(int device);
  ~GpuScope();
  GpuScope(const GpuScope&) = delete;
  GpuScope& operator=(const GpuScope&) = delete;

 private:
  int previous_ = 0;
  bool changed_ = false;
};

/// Compute capability, e.g. 90, number of multiprocessors and name of the current GPU.
int compute_capability();
/// Whether kernels run as compiled for compute capability 9.0, with clusters and dependent launches: a GPU of
/// another one, or a build without that code, runs what was compiled for an older one.
bool runs_code_for_90();
int multiprocessors();
std::string gpu_name();
/// A function of the driver as of a CUDA version, 12000 for 12.0, or null where it has none: found without
/// linking to the driver, because a process may run where there is none.
void* driver_function(const char* name, unsigned int version);

}  // namespace wick::cuda
