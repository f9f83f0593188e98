#pragma once

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

/// The same with an unsigned integer of the element's size, for kernels that only move elements.
template <typename F>
decltype(auto) visit_word(DType dtype, const F& f) {
  switch (size_of(dtype)) {
    case 1: return f.template operator()<unsigned char>();
    case 2: return f.template operator()<unsigned short>();
    case 4: return f.template operator()<unsigned int>();
    default: return f.template operator()<unsigned long long>();
  }
}

}  // namespace wick::cuda
