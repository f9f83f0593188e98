#pragma once

#include <cstdint>

#include "wick/dtype.h"

namespace wick {

/// Rounded up to whole cache lines, for what lies behind one another in scratch memory.
constexpr std::int64_t padded_floats(std::int64_t count) { return (count + 15) / 16 * 16; }

/// to[i] = from[i] for `count` elements, on the calling thread; `dtype` is f32, bf16 or f16.
void widen_row(DType dtype, const void* from, float* to, std::int64_t count);
void narrow_row(DType dtype, const float* from, void* to, std::int64_t count);

}  // namespace wick
