#include "backend/cuda/strided_shape.h"

#include <algorithm>
#include <cstdlib>
#include <limits>

namespace wick::cuda {

Strides broadcast_strides(const Layout& layout, const Shape& shape) {
  Strides strides{};
  const int missing = shape.rank() - layout.shape.rank();
  for (int d = 0; d < layout.shape.rank(); ++d)
    if (layout.shape[d] != 1)
      strides[static_cast<std::size_t>(missing + d)] = layout.strides[static_cast<std::size_t>(d)];
  return strides;
}

StridedShape::StridedShape(std::span<const Dim> dims) {
  for (const Dim& dim : dims) append(dim);
}

StridedShape::StridedShape(const Shape& shape, std::span<const Strides> strides) {
  for (int d = 0; d < shape.rank(); ++d) {
    Dim dim{shape[d], {}};
    for (const Strides& operand : strides) dim.strides.push_back(operand[static_cast<std::size_t>(d)]);
    append(dim);
  }
}

StridedShape::StridedShape(const Layout& layout, int begin, int end) {
  for (int d = begin; d < end; ++d) append({layout.shape[d], {layout.strides[static_cast<std::size_t>(d)]}});
}

void StridedShape::append(const Dim& dim) {
  count_ *= dim.size;
  if (dim.size == 1) return;
  bool merges = !dims_.empty();
  for (std::size_t k = 0; k < dim.strides.size() && merges; ++k)
    merges = dims_.back().strides[k] == dim.size * dim.strides[k];
  if (merges)
    dims_.back() = {dims_.back().size * dim.size, dim.strides};
  else
    dims_.push_back(dim);
}

bool StridedShape::is_small() const {
  constexpr std::int64_t most = std::numeric_limits<std::int32_t>::max();
  if (count_ > most) return false;
  if (count_ == 0 || dims_.empty()) return true;
  for (std::size_t k = 0; k < dims_[0].strides.size(); ++k) {
    std::int64_t reach = 0;
    for (const Dim& dim : dims_) {
      const std::int64_t stride = std::abs(dim.strides[k]);
      if (stride > most) return false;
      reach += stride * (dim.size - 1);
    }
    if (reach > most) return false;
  }
  return true;
}

}  // namespace wick::cuda
