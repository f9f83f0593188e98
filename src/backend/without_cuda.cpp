#include "backend/cuda/backend.h"
#include "wick/error.h"

namespace wick::cuda {

std::string problem() {
  return "This build of Wick has no CUDA backend: build it where nvcc is installed, with -DWICK_CUDA=ON.";
}

const Backend& backend(int) { throw DeviceError(problem()); }

std::vector<DeviceInfo> devices() { return {}; }

}  // namespace wick::cuda
