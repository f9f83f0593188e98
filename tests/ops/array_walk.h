#pragma once

#include <functional>
#include <vector>

#include "ops/op_harness.h"

// Coordinates, for references of ops that move elements.
namespace wick::test {

using Position = std::vector<std::int64_t>;

/// Calls f(position) in row-major order. f may change its position.
inline void for_each_position(const Shape& shape, const std::function<void(Position&)>& f) {
  Position at(static_cast<std::size_t>(shape.rank()));
  const std::int64_t count = shape.elements();
  for (std::int64_t i = 0; i < count; ++i) {
    std::int64_t rest = i;
    for (int d = shape.rank() - 1; d >= 0; --d) {
      at[static_cast<std::size_t>(d)] = rest % shape[d];
      rest /= shape[d];
    }
    f(at);
  }
}

/// The element at a position.
inline double& element(Array& array, const Position& at) {
  std::int64_t index = 0;
  for (int d = 0; d < array.shape.rank(); ++d)
    index = index * array.shape[d] + at[static_cast<std::size_t>(d)];
  return array.values.at(static_cast<std::size_t>(index));
}
inline double element(const Array& array, const Position& at) {
  return element(const_cast<Array&>(array), at);
}

/// An array from a function of the position, which it may change.
inline Array build(const Shape& shape, const std::function<double(Position&)>& f) {
  Array array{shape, {}};
  for_each_position(shape, [&](Position& at) { array.values.push_back(f(at)); });
  return array;
}

inline const std::vector<DType> all_dtypes{DType::f64, DType::f32, DType::bf16, DType::f16,
                                           DType::i64, DType::i32, DType::u8,   DType::bool_};

/// For ops that compute nothing.
inline Tolerance exact(DType) { return {}; }

inline std::size_t z(std::int64_t i) { return static_cast<std::size_t>(i); }

}  // namespace wick::test
