#pragma once

#include <cuda_runtime_api.h>

#include <memory>
#include <string>

namespace wick::cuda {

/// Kernels of a source text that is compiled while the process runs: once a text, in the background from when
/// it is first asked for. Thread-safe.
class RuntimeModule {
 public:
  /// That of a source, the same one for equal texts. Where there is a GPU, compiling begins now.
  static std::shared_ptr<RuntimeModule> of(const std::string& source);

  virtual ~RuntimeModule() = default;
  /// A kernel of the source for the current GPU; waits until it is compiled. Throws InternalError when the
  /// source is wrong, DeviceError when the GPU does not take it.
  virtual cudaKernel_t kernel(const char* name) = 0;
};

}  // namespace wick::cuda
