#pragma once

#include "backend/cuda/device/index.cuh"

// How a reduction is divided, for the host, for nvcc, and compiled at run time: no includes but that.
namespace wick::cuda {

inline constexpr int reduce_threads = 256;

/// How a block's threads divide the work: `lanes` of them share an output, each with every lanes-th element.
struct Split {
  int lanes = 1;
  bool lanes_together = false;  ///< neighbouring threads share an output; else they have neighbouring outputs
  bool packs = false;           ///< reduced elements are read several at once
  long long part = 0;           ///< reduced elements of a block
};

/// Where the operands of the elements lie.
template <typename Index, int operands>
struct Walks {
  Dims<Index> kept;
  Steps<Index> kept_steps[operands];
  Dims<Index> reduced;
  Steps<Index> reduced_steps[operands];
};

}  // namespace wick::cuda
