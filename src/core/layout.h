#pragma once

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

}  // namespace wick
