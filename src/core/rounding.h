#pragma once

#include "wick/dtype.h"

namespace wick {

/// `value` as an element of a floating `dtype` holds it; unchanged for other dtypes.
inline double rounded_to(double value, DType dtype) noexcept {
  const auto single = static_cast<float>(value);
  switch (dtype) {
    case DType::f32: return static_cast<double>(single);
    case DType::bf16: return static_cast<double>(static_cast<float>(bfloat16(single)));
    case DType::f16: return static_cast<double>(static_cast<float>(float16(single)));
    default: return value;
  }
}

}  // namespace wick
