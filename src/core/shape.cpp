#include "wick/shape.h"

#include <fmt/format.h>

#include <algorithm>

#include "wick/error.h"

namespace wick {

namespace {

constexpr std::int64_t most_elements = std::int64_t{1} << 62;

std::string listed(std::span<const std::int64_t> dims) {
  std::string text = "[";
  for (std::size_t i = 0; i < dims.size(); ++i) text += (i ? ", " : "") + std::to_string(dims[i]);
  return text + "]";
}

}  // namespace

Shape::Shape(std::initializer_list<std::int64_t> dims) : Shape(std::span(dims.begin(), dims.size())) {}

Shape::Shape(std::span<const std::int64_t> dims) {
  if (dims.size() > max_rank)
    throw ShapeError(fmt::format("a shape has at most {} dimensions, not {}", max_rank, dims.size()));
  rank_ = static_cast<std::int32_t>(dims.size());
  std::int64_t product = 1;  // of the sizes that are not 0
  bool empty = false;
  bool too_large = false;
  for (std::size_t i = 0; i < dims.size(); ++i) {
    if (dims[i] < 0) throw ShapeError("a dimension cannot be negative: " + listed(dims));
    dims_[i] = dims[i];
    if (dims[i] == 0)
      empty = true;
    else
      too_large |= __builtin_mul_overflow(product, dims[i], &product) || product > most_elements;
  }
  if (too_large && !empty) throw ShapeError("a shape with more than 2^62 elements: " + listed(dims));
}

std::int64_t Shape::elements() const noexcept {
  std::int64_t product = 1;
  for (int i = 0; i < rank_; ++i) {
    if (dims_[static_cast<std::size_t>(i)] == 0) return 0;
    product *= dims_[static_cast<std::size_t>(i)];
  }
  return product;
}

int Shape::normalize_axis(int axis) const {
  if (axis < -rank_ || axis >= rank_)
    throw ShapeError(fmt::format("axis {} is out of range for shape {}", axis, str()));
  return axis < 0 ? axis + rank_ : axis;
}

Shape Shape::with(int axis, std::int64_t size) const {
  Shape copy = *this;
  copy.dims_[static_cast<std::size_t>(normalize_axis(axis))] = size;
  return Shape(copy.dims());
}

Shape Shape::without(int axis) const {
  axis = normalize_axis(axis);
  Shape copy;
  for (int i = 0; i < rank_; ++i)
    if (i != axis) copy.dims_[static_cast<std::size_t>(copy.rank_++)] = (*this)[i];
  return copy;
}

Shape Shape::inserted(int axis, std::int64_t size) const {
  std::array<std::int64_t, max_rank + 1> dims{};
  int n = 0;
  for (int i = 0; i <= rank_; ++i) {
    if (i == axis) dims[static_cast<std::size_t>(n++)] = size;
    if (i < rank_) dims[static_cast<std::size_t>(n++)] = (*this)[i];
  }
  return Shape(std::span<const std::int64_t>(dims.data(), static_cast<std::size_t>(n)));
}

Shape Shape::slice(int begin, int end) const {
  return Shape(dims().subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin)));
}

std::string Shape::str() const { return listed(dims()); }

Shape broadcast_shapes(const Shape& a, const Shape& b) {
  if (a == b) return a;
  const int rank = std::max(a.rank(), b.rank());
  std::array<std::int64_t, max_rank> dims{};
  for (int i = 0; i < rank; ++i) {
    const int ia = i - (rank - a.rank());
    const int ib = i - (rank - b.rank());
    const std::int64_t da = ia < 0 ? 1 : a[ia];
    const std::int64_t db = ib < 0 ? 1 : b[ib];
    if (da != db && da != 1 && db != 1)
      throw ShapeError(fmt::format("shapes {} and {} do not broadcast", a.str(), b.str()));
    dims[static_cast<std::size_t>(i)] = da == 1 ? db : da;
  }
  return Shape(std::span<const std::int64_t>(dims.data(), static_cast<std::size_t>(rank)));
}

Strides contiguous_strides(const Shape& shape) noexcept {
  Strides strides{};
  std::int64_t next = 1;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    strides[static_cast<std::size_t>(i)] = next;
    next *= shape[i];
  }
  return strides;
}

}  // namespace wick
