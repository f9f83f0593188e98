#pragma once

#include <cstdint>
#include <span>

#include "backend/cuda/cluster.cuh"
#include "backend/cuda/launch_kernel.h"
#include "backend/cuda/lora_kernels.h"

namespace wick::cuda::hopper {

inline std::int64_t parts(std::int64_t count, std::int64_t each) { return (count + each - 1) / each; }

/// Some problems for one launch: each member has so many clusters of the grid, one after the other.
template <typename Problem>
struct Joined {
  template <typename F>
  Joined(std::span<const Problem> problems, const F& clusters_of) {
    std::int64_t end = 0;
    for (int m = 0; m < most_joined; ++m) {
      if (m < static_cast<int>(problems.size())) {
        members[m] = problems[m];
        end += clusters_of(problems[m]);
      }
      ends[m] = static_cast<int>(end);
    }
  }
  std::int64_t clusters() const { return ends[most_joined - 1]; }

  struct Place {
    int member;
    int cluster;  ///< of the member
  };
  /// What this block is there for.
  __device__ Place here() const {
    const int cluster = static_cast<int>(blockIdx.x) / cluster_blocks();
    int member = 0;
    while (cluster >= ends[member]) ++member;
    return {member, member == 0 ? cluster : cluster - ends[member - 1]};
  }

  Problem members[most_joined];
  int ends[most_joined];  ///< of each member's clusters
};

template <typename Problem, typename... Arguments>
void launch_joined(void (*kernel)(Joined<Problem>, Arguments...), const Joined<Problem>& joined,
                   std::int64_t cluster, int threads, std::size_t shared, cudaStream_t stream,
                   const char* name, const std::type_identity_t<Arguments>&... arguments) {
  const Grid grid{static_cast<unsigned>(joined.clusters() * cluster), static_cast<unsigned>(threads), shared,
                  static_cast<unsigned>(cluster)};
  launch_kernel(kernel, grid, stream, name, joined, arguments...);
}

}  // namespace wick::cuda::hopper
