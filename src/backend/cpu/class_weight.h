#pragma once

#include <cstddef>
#include <cstdint>

#include "wick/dtype.h"

namespace wick {

/// How the weight of an output head lies: [classes, d], or [d, classes] when `transposed`; f32, bf16 or f16,
/// without gaps.
class ClassWeight {
 public:
  ClassWeight(DType dtype, std::int64_t classes, std::int64_t d, bool transposed)
      : dtype_(dtype), classes_(classes), d_(d), transposed_(transposed) {}

  DType dtype() const noexcept { return dtype_; }
  std::int64_t element() const noexcept { return static_cast<std::int64_t>(size_of(dtype_)); }
  /// Elements from one class to the next, and from one feature.
  std::int64_t class_step() const noexcept { return transposed_ ? 1 : d_; }
  std::int64_t feature_step() const noexcept { return transposed_ ? classes_ : 1; }
  std::int64_t offset_bytes(std::int64_t c) const noexcept { return c * class_step() * element(); }

  /// n classes from `first` on in f32, as they lie in a weight of so many; and back, in the weight's dtype.
  void widen(const void* weight, std::int64_t first, std::int64_t n, float* to) const;
  void narrow(const float* from, std::int64_t first, std::int64_t n, void* weight) const;

  /// One class in f32, its features one behind the other.
  void copy_class(const void* weight, std::int64_t c, float* to) const;
  /// The sum over all classes, [d], each feature in a fixed order.
  void sum_classes(const void* weight, float* sums) const;

 private:
  float at(const void* weight, std::int64_t i) const;
  float sum_row(const void* weight, std::int64_t row) const;
  /// The stretches that n classes are, so many elements each, and the bytes from one to the next.
  struct Lines {
    std::int64_t count;
    std::int64_t length;
    std::int64_t step;
  };
  Lines lines_of(std::int64_t n) const;

  DType dtype_;
  std::int64_t classes_;
  std::int64_t d_;
  bool transposed_;
};

}  // namespace wick
