#pragma once

#include <cuda_runtime.h>

#include <type_traits>

#include "backend/cuda/check.h"
#include "backend/cuda/gpu.h"

// Launches of compute capability 9.0: kernels that begin before what was launched ahead of them has ended, in
// clusters of blocks that read each other's shared memory. Kernels that use them do nothing elsewhere.
namespace wick::cuda {

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
#define WICK_HAS_CLUSTERS 1
#else
#define WICK_HAS_CLUSTERS 0
#endif

/// Lets the kernel behind this one begin once every block of this one has come here or has ended.
__device__ inline void let_next_begin() {
#if WICK_HAS_CLUSTERS
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

/// Waits until the kernels ahead have ended and what they wrote can be seen. Every thread comes here before
/// it touches memory that another kernel writes, or that another reads and it writes.
__device__ inline void wait_for_kernels_ahead() {
#if WICK_HAS_CLUSTERS
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/// All threads of all blocks of the cluster meet; what they wrote to shared memory before can be read after.
__device__ inline void meet_cluster() {
#if WICK_HAS_CLUSTERS
  asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
#endif
}

/// `*place` of this block, as block `rank` of the cluster has it.
__device__ inline float read_of_rank(const float* place, int rank) {
  float value = 0;
#if WICK_HAS_CLUSTERS
  const auto here = static_cast<unsigned int>(__cvta_generic_to_shared(place));
  unsigned int there = 0;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(here), "r"(rank));
  asm volatile("ld.shared::cluster.f32 %0, [%1];" : "=f"(value) : "r"(there) : "memory");
#endif
  return value;
}

struct DependentLaunch {
  unsigned int blocks;
  unsigned int threads;
  std::size_t shared = 0;    ///< dynamic shared memory, in bytes
  unsigned int cluster = 1;  ///< blocks that form one; divides `blocks`
  cudaStream_t stream;
};

/// What the runtime takes of a launch; the attributes live as long as it.
class LaunchConfiguration {
 public:
  template <typename... Arguments>
  LaunchConfiguration(void (*kernel)(Arguments...), const DependentLaunch& how) {
    if (how.shared > 48 * 1024)
      check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                 static_cast<int>(how.shared)),
            "asking for shared memory");
    attributes_[0].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes_[0].val.programmaticStreamSerializationAllowed = 1;
    attributes_[1].id = cudaLaunchAttributeClusterDimension;
    attributes_[1].val.clusterDim.x = how.cluster;
    attributes_[1].val.clusterDim.y = 1;
    attributes_[1].val.clusterDim.z = 1;
    config_.gridDim = how.blocks;
    config_.blockDim = how.threads;
    config_.dynamicSmemBytes = how.shared;
    config_.stream = how.stream;
    config_.attrs = attributes_;
    config_.numAttrs = 2;
  }
  LaunchConfiguration(const LaunchConfiguration&) = delete;
  LaunchConfiguration& operator=(const LaunchConfiguration&) = delete;
  const cudaLaunchConfig_t* get() const { return &config_; }

 private:
  cudaLaunchAttribute attributes_[2] = {};
  cudaLaunchConfig_t config_{};
};

/// Launches a kernel that calls `wait_for_kernels_ahead`.
template <typename... Arguments>
void launch_dependent(void (*kernel)(Arguments...), const DependentLaunch& how, const char* name,
                      const std::type_identity_t<Arguments>&... arguments) {
  LaunchConfiguration config(kernel, how);
  check(cudaLaunchKernelEx(config.get(), kernel, arguments...), name);
}

/// How many blocks the GPU runs at once.
template <typename... Arguments>
unsigned int blocks_at_once(void (*kernel)(Arguments...), int threads) {
  int of_multiprocessor = 0;
  check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&of_multiprocessor, kernel, threads, 0),
        "counting blocks");
  return static_cast<unsigned int>(of_multiprocessor * multiprocessors());
}

/// How many clusters of this size the GPU runs at once; those of many blocks leave gaps.
template <typename... Arguments>
unsigned int most_clusters(void (*kernel)(Arguments...), DependentLaunch how) {
  how.blocks = how.cluster;
  LaunchConfiguration config(kernel, how);
  int most = 0;
  check(cudaOccupancyMaxActiveClusters(&most, kernel, config.get()), "counting clusters");
  return static_cast<unsigned int>(most);
}

}  // namespace wick::cuda
