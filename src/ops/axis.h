#pragma once

#include <fmt/format.h>

#include <string_view>

#include "wick/tensor.h"

// How public functions normalise what depends on a tensor's shape, and report what cannot be.
namespace wick {

/// `axis` counted from the front. One that is out of range stays as it is: the op's rule reports it, and the
/// recorder adds the caller's place.
inline std::int64_t front_axis(const Tensor& x, int axis) {
  const int rank = x.defined() ? x.rank() : 0;
  return axis < 0 && axis >= -rank ? axis + rank : axis;
}

/// The axis that an op's attributes hold, in [0, rank). Throws ShapeError.
inline int checked_axis(const Shape& shape, std::int64_t axis) {
  return shape.normalize_axis(static_cast<int>(axis));
}

/// Throws E for arguments that no attributes can express, in the recorder's format.
template <typename E>
[[noreturn]] void refuse(std::string_view op, const Tensor& x, const std::string& reason,
                         SourceLocation where) {
  throw E(
      fmt::format("{}: {}\n  in {}({}) recorded at {}:{}", op, reason, op, x.str(), where.file, where.line));
}

}  // namespace wick
