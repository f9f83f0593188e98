#include "backend/cuda/check.h"

#include <fmt/format.h>

#include "wick/error.h"

namespace wick::cuda {
namespace {

/// Errors after which the process can do nothing more with the device.
bool is_sticky(cudaError_t status) {
  switch (status) {
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorAssert:
    case cudaErrorECCUncorrectable: return true;
    default: return false;
  }
}

}  // namespace

void check(cudaError_t status, const char* doing) {
  if (status == cudaSuccess) return;
  throw DeviceError(
      fmt::format("CUDA failed in {}: {} ({}){}", doing, cudaGetErrorString(status), cudaGetErrorName(status),
                  is_sticky(status) ? "; the GPU takes no more work from this process, which must "
                                      "be started again (WICK_CUDA_SYNC=1 then names the op)"
                                    : ""));
}

}  // namespace wick::cuda
