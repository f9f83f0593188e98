#pragma once

#include <vector>

#include "backend/cpu/strided_walk.h"

namespace wick {

/// The lines of a strided tensor along one axis, in the row-major order of the other dimensions.
struct LineWalk {
  StridedWalk<1> lines;  ///< first elements
  std::int64_t length;   ///< elements of a line
  std::int64_t stride;   ///< between them
  std::int64_t inner;    ///< elements of a row-major tensor between two of a line

  LineWalk(const Layout& layout, int axis)
      : lines(other_dims(layout, axis)),
        length(layout.shape[axis]),
        stride(layout.strides[static_cast<std::size_t>(axis)]),
        inner(layout.shape.slice(axis + 1, layout.shape.rank()).elements()) {}

  /// Where line `i` begins: in the tensor, and in a row-major one.
  std::int64_t first(std::int64_t i) const { return lines.offsets_at(i)[0]; }
  std::int64_t row_major_first(std::int64_t i) const { return i / inner * inner * length + i % inner; }

  /// How many lines from `i` on follow one another: by lines.run()'s stride in the tensor, by 1 in a
  /// row-major one.
  std::int64_t neighbours(std::int64_t i) const {
    const std::int64_t run = lines.run().size;
    return std::min(inner - i % inner, run - i % run);
  }

 private:
  static std::vector<StridedWalk<1>::Dim> other_dims(const Layout& layout, int axis) {
    std::vector<StridedWalk<1>::Dim> dims;
    for (int d = 0; d < layout.shape.rank(); ++d)
      if (d != axis) dims.push_back({layout.shape[d], {layout.strides[static_cast<std::size_t>(d)]}});
    return dims;
  }
};

}  // namespace wick
