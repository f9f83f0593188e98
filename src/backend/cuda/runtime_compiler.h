#pragma once

#include <string>

namespace wick::cuda {

/// CUDA C++ `source` as a binary for GPUs of compute capability `capability` (80, 90, ...), by NVRTC, or from
/// the cache on disk. It may include the headers of runtime_headers.h. Products are not contracted with sums,
/// so that a group rounds as its ops one by one do. Throws InternalError with the compiler's words.
/// Thread-safe.
std::string compile(const std::string& source, int capability);

}  // namespace wick::cuda
