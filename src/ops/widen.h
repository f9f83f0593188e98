#pragma once

#include "ops/helpers.h"

namespace wick {

/// The dtype that ops on 16-bit floats compute in before they round once.
constexpr DType wide_dtype(DType dtype) noexcept { return dtype == DType::f64 ? DType::f64 : DType::f32; }

/// `x` in the dtype that its op computes in.
inline Tensor widen(const Tensor& x) { return cast_to(x, wide_dtype(x.dtype())); }

}  // namespace wick
