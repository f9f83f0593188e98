#pragma once

#include <vector>

#include "backend/cpu/strided_walk.h"
#include "wick/dtype.h"

namespace wick {

/// Copies a strided array of elements to another of the same shape, in parallel.
class StridedCopy {
 public:
  StridedCopy(const Shape& shape, DType dtype, const Strides& source, const Strides& target);

  /// Addresses are those of the first elements. The arrays must not overlap.
  void run(const void* source, void* target) const;

 private:
  static constexpr std::size_t from = 0;
  static constexpr std::size_t to = 1;
  using Walk = StridedWalk<2>;

  template <typename Word>
  void copy_runs(const Word* source, Word* target) const;
  template <typename Word>
  void copy_blocks(const Word* source, Word* target) const;

  DType dtype_;
  Walk walk_;
  // A transposition: the source is dense along another dimension (`columns_`) than the target (the
  // innermost).
  bool transposes_ = false;
  Walk::Dim columns_;
  Walk outer_;  // the dimensions but for these two
};

}  // namespace wick
