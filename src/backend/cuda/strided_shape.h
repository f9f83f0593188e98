#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "backend/cuda/device/index.cuh"
#include "core/layout.h"

namespace wick::cuda {

/// The strides with which a layout is read as a tensor of `shape`, which it broadcasts to.
Strides broadcast_strides(const Layout& layout, const Shape& shape);

/// The positions of a shape with the strides of some operands. Dimensions of size 1 are left out, and
/// neighbours that every operand can walk as one are merged.
class StridedShape {
 public:
  struct Dim {
    std::int64_t size = 1;
    std::vector<std::int64_t> strides;  ///< one an operand
  };

  explicit StridedShape(std::span<const Dim> dims);
  StridedShape(const Shape& shape, std::span<const Strides> strides);
  /// Those of the dimensions [begin, end) of one layout.
  StridedShape(const Layout& layout, int begin, int end);

  std::int64_t count() const noexcept { return count_; }
  std::span<const Dim> dims() const noexcept { return dims_; }
  /// Whether the positions, and each operand's offsets, fit in 31 bits.
  bool is_small() const;

  /// The shape for kernels; an innermost dimension of `width` positions counts as one.
  template <typename Index>
  Dims<Index> device_dims(int width = 1) const {
    Dims<Index> made;
    made.count = static_cast<Index>(count_ / width);
    made.rank = static_cast<int>(dims_.size());
    for (std::size_t d = 0; d < dims_.size(); ++d) {
      const std::int64_t size = d + 1 == dims_.size() ? dims_[d].size / width : dims_[d].size;
      made.sizes[d] = Divisor<Index>::of(static_cast<Index>(size));
    }
    return made;
  }
  template <typename Index>
  Steps<Index> device_steps(std::size_t operand, int width = 1) const {
    Steps<Index> made;
    for (std::size_t d = 0; d < dims_.size(); ++d)
      made.by[d] = static_cast<typename OffsetOf<Index>::type>(dims_[d].strides[operand] *
                                                               (d + 1 == dims_.size() ? width : 1));
    return made;
  }

 private:
  void append(const Dim& dim);

  std::vector<Dim> dims_;
  std::int64_t count_ = 1;
};

}  // namespace wick::cuda
