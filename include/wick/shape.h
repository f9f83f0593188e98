#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

namespace wick {

/// Most dimensions a tensor can have.
inline constexpr int max_rank = 8;

/// Sizes of a tensor's dimensions, outermost first; a value of fixed size, no allocation. Rank 0 is a scalar.
/// Construction throws ShapeError for a negative size, more than `max_rank` dimensions, or an element count
/// beyond 2^62.
class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<std::int64_t> dims);
  explicit Shape(std::span<const std::int64_t> dims);

  int rank() const noexcept { return rank_; }
  /// Size of dimension `axis`; negative counts from the end. Throws ShapeError when out of range.
  std::int64_t dim(int axis) const { return dims_[static_cast<std::size_t>(normalize_axis(axis))]; }
  std::int64_t operator[](int axis) const { return dims_[static_cast<std::size_t>(axis)]; }
  /// Product of all sizes; 1 for rank 0.
  std::int64_t elements() const noexcept;
  std::span<const std::int64_t> dims() const noexcept {
    return {dims_.data(), static_cast<std::size_t>(rank_)};
  }
  /// `axis` in [0, rank). Throws ShapeError when it is outside [-rank, rank).
  int normalize_axis(int axis) const;

  /// Copies with one dimension replaced, removed or inserted (before `axis`).
  Shape with(int axis, std::int64_t size) const;
  Shape without(int axis) const;
  Shape inserted(int axis, std::int64_t size) const;
  /// The dimensions [begin, end), as a shape.
  Shape slice(int begin, int end) const;

  /// "[2, 3]"
  std::string str() const;

  friend bool operator==(const Shape& a, const Shape& b) noexcept {
    if (a.rank_ != b.rank_) return false;
    for (int i = 0; i < a.rank_; ++i)
      if (a[i] != b[i]) return false;
    return true;
  }

 private:
  std::array<std::int64_t, max_rank> dims_{};
  std::int32_t rank_ = 0;
};

/// NumPy broadcasting of two shapes. Throws ShapeError with both shapes when they do not fit.
Shape broadcast_shapes(const Shape& a, const Shape& b);

/// Distance in elements between neighbours along each dimension.
using Strides = std::array<std::int64_t, max_rank>;

/// Row-major strides of a shape.
Strides contiguous_strides(const Shape& shape) noexcept;

}  // namespace wick
