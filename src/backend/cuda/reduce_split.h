#pragma once

#include "backend/cuda/device/split.cuh"
#include "backend/cuda/strided_shape.h"

namespace wick::cuda {

/// How the elements of a reduction, made of some operands, are divided among blocks and threads. It depends
/// on shapes only, so the bits of the result do too.
struct ReduceSplit {
  /// `strides`: each operand's over `shape`, the elements'; the axes whose bits are set are reduced; `width`
  /// elements are read at once where that is possible.
  ReduceSplit(const Shape& shape, std::span<const Strides> strides, std::uint32_t axes, std::int64_t width);

  std::int64_t outputs() const { return kept.count(); }
  /// Totals that blocks leave; 0 when each output is one block's.
  std::int64_t totals() const { return parts == 1 ? 0 : parts * outputs(); }
  unsigned blocks() const { return blocks_of(split); }
  /// How the totals are put together, and by how many blocks.
  Split over_parts() const { return {.lanes = outputs() < 8 ? reduce_threads : 8}; }
  unsigned combining_blocks() const { return blocks_of(over_parts()); }
  /// Whether `walks` may count in 32 bits.
  bool is_small() const { return kept.is_small() && reduced.is_small(); }
  template <typename Index, int operands>
  Walks<Index, operands> walks() const {
    Walks<Index, operands> made{kept.device_dims<Index>(), {}, {}, {}};
    if (reduced.count() > 0) made.reduced = reduced.device_dims<Index>();
    for (std::size_t k = 0; k < operand_count; ++k) {
      made.kept_steps[k] = kept.device_steps<Index>(k);
      if (reduced.count() > 0) made.reduced_steps[k] = reduced.device_steps<Index>(k);
    }
    return made;
  }

  std::size_t operand_count;
  StridedShape kept;
  StridedShape reduced;
  Split split;
  bool may_pack = false;  ///< where addresses are aligned: every operand is read in packs, or is one number
  std::int64_t parts = 1;

 private:
  unsigned blocks_of(const Split& of) const;
};

}  // namespace wick::cuda
