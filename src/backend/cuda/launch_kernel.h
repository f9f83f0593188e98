#pragma once

#include <cuda_runtime_api.h>
#include <vector_types.h>

#include <cstddef>
#include <type_traits>

namespace wick::cuda {

struct Grid {
  dim3 blocks;
  dim3 threads;              ///< of a block
  std::size_t shared = 0;    ///< dynamic shared memory of a block, in bytes
  unsigned int cluster = 1;  ///< neighbouring blocks that form a cluster; divides `blocks.x`
  bool hands_over = false;   ///< the next kernel may begin early, though there are many blocks
  bool at_once = false;      ///< blocks wait for each other, so that none runs unless all do
};

/// Launches a kernel, on compute capability 9.0 where it gains so that it may begin before those ahead of it
/// have ended: it waits for them itself (device/launch_order.cuh). `arguments` are addresses of its
/// parameters' values. Throws DeviceError, which names the kernel.
void launch_kernel(const void* kernel, const Grid& grid, cudaStream_t stream, const char* name,
                   const void* const* arguments);

template <typename... Parameters>
void launch_kernel(void (*kernel)(Parameters...), const Grid& grid, cudaStream_t stream, const char* name,
                   const std::type_identity_t<Parameters>&... arguments) {
  const void* const addresses[] = {&arguments...};
  launch_kernel(reinterpret_cast<const void*>(kernel), grid, stream, name, addresses);
}

/// How many blocks of this many threads, without dynamic shared memory, the GPU runs at once.
unsigned int blocks_at_once(const void* kernel, int threads);

template <typename... Parameters>
unsigned int blocks_at_once(void (*kernel)(Parameters...), int threads) {
  return blocks_at_once(reinterpret_cast<const void*>(kernel), threads);
}

/// How many clusters of this size the GPU runs at once; those of many blocks leave gaps.
unsigned int most_clusters(const void* kernel, Grid grid);

template <typename... Parameters>
unsigned int most_clusters(void (*kernel)(Parameters...), const Grid& grid) {
  return most_clusters(reinterpret_cast<const void*>(kernel), grid);
}

}  // namespace wick::cuda
