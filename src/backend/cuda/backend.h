#pragma once

#include <string>
#include <vector>

#include "backend/backend.h"
#include "wick/device.h"

// What the rest of Wick knows of the CUDA backend. A build without CUDA has without_cuda.cpp in its place.
namespace wick::cuda {

/// The backend of GPU number `index`. Throws DeviceError where there is none.
const Backend& backend(int index);

/// The GPUs that can be used.
std::vector<DeviceInfo> devices();

/// A sentence that says why `devices()` is empty, and what to do; empty when it is not.
std::string problem();

}  // namespace wick::cuda
