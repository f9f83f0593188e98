#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>

#include "core/layout.h"

namespace wick {

/// Strides of `layout` broadcast to `shape`; 0 along dimensions of size 1.
inline Strides broadcast_strides(const Layout& layout, const Shape& shape) {
  Strides strides{};
  const int added = shape.rank() - layout.shape.rank();
  for (int i = 0; i < layout.shape.rank(); ++i)
    if (layout.shape[i] != 1)
      strides[static_cast<std::size_t>(i + added)] = layout.strides[static_cast<std::size_t>(i)];
  return strides;
}

/// The positions of a shape in row-major order, with the offset that each has in some operands of different
/// strides. Dimensions of size 1 are left out, and neighbours that every operand can walk as one are merged.
template <std::size_t operands>
class StridedWalk {
 public:
  using Offsets = std::array<std::int64_t, operands>;
  struct Dim {
    std::int64_t size = 1;
    Offsets strides{};
  };

  StridedWalk(std::span<const Dim> dims) {
    for (const Dim& dim : dims) append(dim);
  }
  StridedWalk(const Shape& shape, const std::array<Strides, operands>& strides) {
    for (int d = 0; d < shape.rank(); ++d) {
      Dim dim{shape[d], {}};
      for (std::size_t k = 0; k < operands; ++k) dim.strides[k] = strides[k][static_cast<std::size_t>(d)];
      append(dim);
    }
  }

  std::int64_t count() const { return count_; }
  std::span<const Dim> dims() const { return {dims_.data(), rank_}; }
  /// The innermost dimension; of size 1 when there is none.
  Dim run() const { return rank_ > 0 ? dims_[rank_ - 1] : Dim{}; }

  Offsets offsets_at(std::int64_t position) const {
    Offsets offsets{};
    for (std::size_t d = rank_; d-- > 0; position /= dims_[d].size)
      move(offsets, d, position % dims_[d].size);
    return offsets;
  }

  /// Calls f(offsets, length) on the parts of the positions [begin, end) that lie along the innermost
  /// dimension.
  template <typename F>
  void for_each_run(std::int64_t begin, std::int64_t end, const F& f) const {
    if (begin >= end) return;
    if (rank_ <= 1) {
      f(offsets_at(begin), end - begin);
      return;
    }
    const std::size_t last = rank_ - 1;
    std::array<std::int64_t, max_rank> at{};
    std::int64_t rest = begin;
    for (std::size_t d = rank_; d-- > 0; rest /= dims_[d].size) at[d] = rest % dims_[d].size;
    Offsets offsets = offsets_at(begin);
    for (;;) {
      const std::int64_t length = std::min(dims_[last].size - at[last], end - begin);
      f(offsets, length);
      begin += length;
      if (begin == end) return;
      move(offsets, last, -at[last]);
      at[last] = 0;
      for (std::size_t d = last; d-- > 0;) {
        move(offsets, d, 1);
        if (++at[d] < dims_[d].size) break;
        move(offsets, d, -at[d]);
        at[d] = 0;
      }
    }
  }

 private:
  void append(const Dim& dim) {
    count_ *= dim.size;
    if (dim.size == 1) return;
    bool merges = rank_ > 0;
    for (std::size_t k = 0; k < operands && merges; ++k)
      merges = dims_[rank_ - 1].strides[k] == dim.size * dim.strides[k];
    if (merges)
      dims_[rank_ - 1] = {dims_[rank_ - 1].size * dim.size, dim.strides};
    else
      dims_[rank_++] = dim;
  }
  void move(Offsets& offsets, std::size_t d, std::int64_t steps) const {
    for (std::size_t k = 0; k < operands; ++k) offsets[k] += steps * dims_[d].strides[k];
  }

  std::array<Dim, max_rank> dims_{};
  std::size_t rank_ = 0;
  std::int64_t count_ = 1;
};

}  // namespace wick
