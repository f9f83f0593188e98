#pragma once

#include <vector_types.h>

#include <cstddef>

#include "backend/cuda/device/numbers.cuh"
#include "wick/dtype.h"

namespace wick::cuda {

/// Calls f.template operator()<T>() with the element type T of `dtype`, as it lies in the device's memory.
template <typename F>
decltype(auto) visit_element(DType dtype, const F& f) {
  switch (dtype) {
    case DType::bool_: return f.template operator()<Bool>();
    case DType::u8: return f.template operator()<unsigned char>();
    case DType::i32: return f.template operator()<int>();
    case DType::i64: return f.template operator()<long long>();
    case DType::f16: return f.template operator()<F16>();
    case DType::bf16: return f.template operator()<Bf16>();
    case DType::f32: return f.template operator()<float>();
    case DType::f64: break;
  }
  return f.template operator()<double>();
}

/// The same for a floating dtype.
template <typename F>
decltype(auto) visit_float(DType dtype, const F& f) {
  switch (dtype) {
    case DType::f16: return f.template operator()<F16>();
    case DType::bf16: return f.template operator()<Bf16>();
    case DType::f64: return f.template operator()<double>();
    default: return f.template operator()<float>();
  }
}

/// The same for those of at most 32 bits.
template <typename F>
decltype(auto) visit_narrow(DType dtype, const F& f) {
  if (dtype == DType::f16) return f.template operator()<F16>();
  if (dtype == DType::bf16) return f.template operator()<Bf16>();
  return f.template operator()<float>();
}

/// Calls f.template operator()<Word>() with an unsigned type of 1, 2, 4, 8 or 16 bytes, for kernels that only
/// move elements.
template <typename F>
decltype(auto) visit_word(std::size_t bytes, const F& f) {
  switch (bytes) {
    case 1: return f.template operator()<unsigned char>();
    case 2: return f.template operator()<unsigned short>();
    case 4: return f.template operator()<unsigned int>();
    case 8: return f.template operator()<unsigned long long>();
    default: return f.template operator()<uint4>();
  }
}

/// Calls f.template operator()<T>() with the 16-bit float type of `dtype`.
template <typename F>
decltype(auto) visit_half(DType dtype, const F& f) {
  if (dtype == DType::f16) return f.template operator()<F16>();
  return f.template operator()<Bf16>();
}

}  // namespace wick::cuda
