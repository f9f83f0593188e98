#pragma once

#include <cstdint>

#include "backend/cuda/strided_shape.h"
#include "wick/dtype.h"

namespace wick::cuda {

/// Where a copy goes, when that is only known on the device: `step` elements further for each of the
/// positions that the number at `start` says, kept in [0, last].
struct CopyStart {
  const void* start = nullptr;
  bool wide = false;  ///< i64, else i32
  std::int64_t last = 0;
  std::int64_t step = 0;
};

/// Copies elements between two layouts of a shape. Dense runs go in words of up to 16 bytes, transposes
/// through tiles in shared memory, so that both sides touch memory in order.
class StridedCopy {
 public:
  StridedCopy(const Shape& shape, DType dtype, const Strides& from, const Strides& to);

  void launch(const void* from, void* to, const CopyStart& start = {}) const;

 private:
  /// Largest word, in bytes, that divides runs, strides and addresses.
  std::size_t word_bytes(const void* from, const void* to, const CopyStart& start) const;
  bool transposes() const noexcept { return row_ >= 0; }

  StridedShape shape_;
  std::size_t element_;
  int row_ = -1;  // the dimension along which neighbours of the input lie, when that is not the last
};

/// Writes one element everywhere in a layout.
class StridedFill {
 public:
  StridedFill(const Shape& shape, DType dtype, double value, const Strides& to);
  void launch(void* to) const;

 private:
  StridedShape shape_;
  std::size_t element_;
  unsigned long long word_ = 0;
};

}  // namespace wick::cuda
