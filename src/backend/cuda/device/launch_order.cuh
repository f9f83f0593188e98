#pragma once

// The order of kernels where one may begin before those ahead of it have ended (programmatic dependent
// launch), for nvcc and compiled at run time: no includes. GPUs before compute capability 9.0 have no such
// launches, and nothing to do here.
namespace wick::cuda {

/// Lets the kernel behind this one begin once every block of this one has come here or has ended.
__device__ __forceinline__ void let_next_begin() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

/// Waits until the kernels ahead have ended and what they wrote can be seen. Every thread comes here before
/// it touches memory that another kernel writes, or that another reads and it writes; so a kernel ends only
/// after those ahead of it.
__device__ __forceinline__ void wait_for_kernels_ahead() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/// The first statement of a kernel that has nothing to do before it waits.
__device__ __forceinline__ void begin_in_order() {
  let_next_begin();
  wait_for_kernels_ahead();
}

}  // namespace wick::cuda
