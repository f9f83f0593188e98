#pragma once

#include "backend/backend.h"
#include "backend/cuda/device/index.cuh"
#include "backend/cuda/launch.h"
#include "backend/cuda/strided_shape.h"

namespace wick::cuda {

/// Where a kernel reports bad data.
struct FaultReport {
  Fault* fault;
  unsigned int step;

  static FaultReport here() { return {current_launch().fault, current_launch().step}; }
  /// The first one stays.
  __device__ void index_out_of_range(long long index, long long size) const {
    if (atomicCAS(&fault->step, 0u, step + 1) != 0u) return;
    fault->index = index;
    fault->size = size;
  }
};

/// Indices (i32 or i64, any layout) into a dimension of `size`, as a kernel reads them.
struct IndexList {
  const void* data;
  bool wide;
  long long size;
  Dims<unsigned long long> dims;
  Steps<unsigned long long> steps;
  FaultReport report;

  /// Number `i`, counted from the end when it is negative; -1, and a fault, when it is out of range.
  __device__ long long at(unsigned long long i) const {
    const long long place = offset_at(dims, i, steps);
    const long long index = wide ? static_cast<const long long*>(data)[place]
                                 : static_cast<long long>(static_cast<const int*>(data)[place]);
    if (index < -size || index >= size) {
      report.index_out_of_range(index, size);
      return -1;
    }
    return index < 0 ? index + size : index;
  }
};

inline IndexList index_list(const Slot& slot, const void* data, std::int64_t size) {
  const StridedShape shape(slot.layout, 0, slot.shape().rank());
  return {data,
          slot.dtype == DType::i64,
          size,
          shape.device_dims<unsigned long long>(),
          shape.device_steps<unsigned long long>(0),
          FaultReport::here()};
}

}  // namespace wick::cuda
