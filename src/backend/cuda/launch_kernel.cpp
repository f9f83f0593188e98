#include "backend/cuda/launch_kernel.h"

#include "backend/cuda/check.h"
#include "backend/cuda/gpu.h"
#include "backend/cuda/launch.h"

namespace wick::cuda {
namespace {

/// What a kernel may take without being asked for more.
constexpr std::size_t usual_shared_bytes = 48 * 1024;

/// Whether a kernel may begin while the last blocks of the one ahead run: where that one leaves most of the
/// GPU free, or its own blocks have a multiprocessor each. Others would get the places that are left,
/// unevenly, and be slower than if they begin when it ends.
bool begins_early(const Grid& grid, cudaStream_t stream) {
  constexpr unsigned int few_blocks = 64;
  constexpr std::size_t most_of_a_multiprocessor = 114 * 1024;
  Launch& here = current_launch();
  const bool behind = here.stream == stream && here.leaves_room;
  here.leaves_room = grid.hands_over || grid.blocks.x * grid.blocks.y <= few_blocks;
  return !grid.at_once && (behind || grid.shared >= most_of_a_multiprocessor);
}

/// What the runtime takes of a launch; the attributes live as long as it.
class Configuration {
 public:
  Configuration(const void* kernel, const Grid& grid, cudaStream_t stream, bool early) {
    if (grid.shared > usual_shared_bytes)
      check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                 static_cast<int>(grid.shared)),
            "asking for shared memory");
    config_.gridDim = grid.blocks;
    config_.blockDim = grid.threads;
    config_.dynamicSmemBytes = grid.shared;
    config_.stream = stream;
    config_.attrs = attributes_;
    if (early && runs_code_for_90()) {
      cudaLaunchAttribute& in_order = attributes_[config_.numAttrs++];
      in_order.id = cudaLaunchAttributeProgrammaticStreamSerialization;
      in_order.val.programmaticStreamSerializationAllowed = 1;
    }
    if (grid.cluster > 1) {
      cudaLaunchAttribute& cluster = attributes_[config_.numAttrs++];
      cluster.id = cudaLaunchAttributeClusterDimension;
      cluster.val.clusterDim = {grid.cluster, 1, 1};
    }
    if (grid.at_once) {
      cudaLaunchAttribute& cooperative = attributes_[config_.numAttrs++];
      cooperative.id = cudaLaunchAttributeCooperative;
      cooperative.val.cooperative = 1;
    }
  }
  Configuration(const Configuration&) = delete;
  Configuration& operator=(const Configuration&) = delete;
  const cudaLaunchConfig_t* get() const { return &config_; }

 private:
  cudaLaunchAttribute attributes_[3] = {};
  cudaLaunchConfig_t config_{};
};

}  // namespace

void launch_kernel(const void* kernel, const Grid& grid, cudaStream_t stream, const char* name,
                   const void* const* arguments) {
  const Configuration config(kernel, grid, stream, begins_early(grid, stream));
  check(cudaLaunchKernelExC(config.get(), kernel, const_cast<void**>(arguments)), name);
}

unsigned int blocks_at_once(const void* kernel, int threads) {
  int of_multiprocessor = 0;
  check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&of_multiprocessor, kernel, threads, 0),
        "counting blocks");
  return static_cast<unsigned int>(of_multiprocessor * multiprocessors());
}

unsigned int most_clusters(const void* kernel, Grid grid) {
  grid.blocks = grid.cluster;
  const Configuration config(kernel, grid, nullptr, false);
  int most = 0;
  check(cudaOccupancyMaxActiveClusters(&most, kernel, config.get()), "counting clusters");
  return static_cast<unsigned int>(most);
}

}  // namespace wick::cuda
