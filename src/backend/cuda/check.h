#pragma once

#include <cuda_runtime_api.h>

namespace wick::cuda {

/// Throws DeviceError that says what was being done, and what CUDA says of it, unless `status` is success.
/// After an error that leaves the device unusable, every call says so.
void check(cudaError_t status, const char* doing);

}  // namespace wick::cuda
