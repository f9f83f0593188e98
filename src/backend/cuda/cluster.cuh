#pragma once

#include <cstdint>

// Clusters of blocks that read each other's shared memory: sums over many blocks in a fixed order, without a
// second kernel. GPUs before compute capability 9.0 have none: every block is a cluster of its own there.
namespace wick::cuda {

inline constexpr int most_cluster_blocks = 8;

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900

__device__ inline int cluster_rank() {
  std::uint32_t rank;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return static_cast<int>(rank);
}
__device__ inline int cluster_blocks() {
  std::uint32_t blocks;
  asm("mov.u32 %0, %%cluster_nctarank;" : "=r"(blocks));
  return static_cast<int>(blocks);
}
__device__ inline void arrive_at_cluster() {
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
}
__device__ inline void wait_for_cluster() {
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}
/// What another block holds in shared memory where this one has `own`.
__device__ inline float read_of_block(const float* own, int block) {
  float x;
  asm volatile(
      "{\n"
      ".reg .b32 remote;\n"
      "mapa.shared::cluster.u32 remote, %1, %2;\n"
      "ld.shared::cluster.f32 %0, [remote];\n"
      "}"
      : "=f"(x)
      : "r"(static_cast<std::uint32_t>(__cvta_generic_to_shared(own))), "r"(block)
      : "memory");
  return x;
}
/// Writes to shared memory of another block, which has begun, where this one has `own`.
__device__ inline void write_of_block(float* own, int block, float x) {
  asm volatile(
      "{\n"
      ".reg .b32 remote;\n"
      "mapa.shared::cluster.u32 remote, %0, %1;\n"
      "st.shared::cluster.f32 [remote], %2;\n"
      "}" ::"r"(static_cast<std::uint32_t>(__cvta_generic_to_shared(own))),
      "r"(block), "f"(x)
      : "memory");
}
/// The same of 16 bytes.
__device__ inline void write_of_block(float4* own, int block, const float4& x) {
  asm volatile(
      "{\n"
      ".reg .b32 remote;\n"
      "mapa.shared::cluster.u32 remote, %0, %1;\n"
      "st.shared::cluster.v4.f32 [remote], {%2, %3, %4, %5};\n"
      "}" ::"r"(static_cast<std::uint32_t>(__cvta_generic_to_shared(own))),
      "r"(block), "f"(x.x), "f"(x.y), "f"(x.z), "f"(x.w)
      : "memory");
}

#else

__device__ inline int cluster_rank() { return 0; }
__device__ inline int cluster_blocks() { return 1; }
__device__ inline void arrive_at_cluster() {}
__device__ inline void wait_for_cluster() { __syncthreads(); }
__device__ inline float read_of_block(const float* own, int) { return *own; }
__device__ inline void write_of_block(float* own, int, float x) { *own = x; }
__device__ inline void write_of_block(float4* own, int, const float4& x) { *own = x; }

#endif

/// All threads of all blocks come here; what they wrote before can be seen behind it.
__device__ inline void sync_cluster() {
  arrive_at_cluster();
  wait_for_cluster();
}

/// Sums of the blocks of a cluster, each of which holds `count` addends in shared memory: calls f(i, sum) for
/// every i in some block. All threads of all blocks take part.
template <typename F>
__device__ void sum_over_cluster(const float* own, int count, const F& f) {
  const int blocks = cluster_blocks();
  sync_cluster();
  for (int i = cluster_rank() * static_cast<int>(blockDim.x) + static_cast<int>(threadIdx.x); i < count;
       i += blocks * static_cast<int>(blockDim.x)) {
    float sum = 0;
    for (int block = 0; block < blocks; ++block) sum += read_of_block(own + i, block);
    f(i, sum);
  }
  sync_cluster();  // nobody leaves while the others read
}

}  // namespace wick::cuda
