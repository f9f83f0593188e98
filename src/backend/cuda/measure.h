#pragma once

#include <cuda_runtime_api.h>

#include <functional>
#include <optional>
#include <string>

// Choices between ways to launch the same work, by measurement.
namespace wick::cuda {

/// Milliseconds of some repetitions of `launch`, which are replayed as a graph so that launching them does
/// not count; nothing when it returns false, which says that it does not run. The stream is not capturing.
std::optional<float> measure(cudaStream_t stream, const std::function<bool()>& launch);

bool is_capturing(cudaStream_t stream);

/// The fastest of `ways` ways (numbers from 0), found when `name` is first asked for outside of a capture,
/// and the same from then on, also in later processes; 0 until then. `launch` may overwrite what it writes.
/// Thread-safe.
int fastest_way(const std::string& name, int ways, cudaStream_t stream,
                const std::function<void(int)>& launch);

}  // namespace wick::cuda
