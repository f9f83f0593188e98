#pragma once

#include <cstddef>
#include <cstdint>

#include "wick/shape.h"

namespace wick {

/// How a tensor's elements lie in its storage; strides and offset count elements.
struct Layout {
  Shape shape;
  Strides strides{};
  std::int64_t offset = 0;

  static Layout contiguous(const Shape& shape) { return {shape, contiguous_strides(shape), 0}; }

  /// Row-major without gaps (dimensions of size 1 may have any stride); the offset does not matter.
  bool is_contiguous() const noexcept {
    if (shape.elements() == 0) return true;
    std::int64_t next = 1;
    for (int i = shape.rank() - 1; i >= 0; --i) {
      if (shape[i] == 1) continue;
      if (strides[static_cast<std::size_t>(i)] != next) return false;
      next *= shape[i];
    }
    return true;
  }
};

/// The bytes that a layout's elements lie in, from its first element's address on; `first` is below 0 for
/// backward views.
struct Extent {
  std::int64_t first = 0;
  std::uint64_t bytes = 0;
};

inline Extent extent_of(const Layout& layout, std::size_t element_bytes) noexcept {
  if (layout.shape.elements() == 0) return {};
  const auto size = static_cast<std::int64_t>(element_bytes);
  std::int64_t low = 0;
  std::int64_t high = size;
  for (int d = 0; d < layout.shape.rank(); ++d) {
    const std::int64_t reach = layout.strides[static_cast<std::size_t>(d)] * (layout.shape[d] - 1) * size;
    (reach < 0 ? low : high) += reach;
  }
  return {low, static_cast<std::uint64_t>(high - low)};
}

}  // namespace wick
