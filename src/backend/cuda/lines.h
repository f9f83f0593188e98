#pragma once

#include "backend/cuda/strided_shape.h"

namespace wick::cuda {

/// The lines of a strided tensor along one axis, in the row-major order of the other dimensions, for kernels.
/// Line i begins at offset_at(first, i, first_steps); in a row-major tensor at i / inner * inner * length + i
/// % inner.
struct Lines {
  Dims<unsigned long long> first;
  Steps<unsigned long long> first_steps;
  long long length;  ///< elements of a line
  long long stride;  ///< between them
  long long inner;   ///< elements of a row-major tensor between two of a line

  static Lines of(const Layout& layout, int axis) {
    std::vector<StridedShape::Dim> others;
    for (int d = 0; d < layout.shape.rank(); ++d)
      if (d != axis) others.push_back({layout.shape[d], {layout.strides[static_cast<std::size_t>(d)]}});
    const StridedShape shape(others);
    return {shape.device_dims<unsigned long long>(), shape.device_steps<unsigned long long>(0),
            layout.shape[axis], layout.strides[static_cast<std::size_t>(axis)],
            layout.shape.slice(axis + 1, layout.shape.rank()).elements()};
  }
  long long count() const { return static_cast<long long>(first.count); }

  WICK_HOST_DEVICE long long begin(long long line) const {
    return offset_at(first, static_cast<unsigned long long>(line), first_steps);
  }
  WICK_HOST_DEVICE long long row_major_begin(long long line) const {
    return line / inner * inner * length + line % inner;
  }
};

}  // namespace wick::cuda
