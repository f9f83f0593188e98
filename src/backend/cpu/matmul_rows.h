#pragma once

#include <cstdint>

#include "wick/dtype.h"

namespace wick {

/// out[i] = rows[i] . vector (+ bias[i]) for `count` rows of `depth` elements each, summed in f32: the
/// product of a matrix and one vector, which is bound by how fast the matrix is read. `rows` is f32, bf16 or
/// f16, `out` likewise; `bias` may be null. Runs on the calling thread.
void dot_rows(DType dtype, const void* rows, std::int64_t row_stride, std::int64_t count, std::int64_t depth,
              const float* vector, const float* bias, DType out_dtype, void* out);

}  // namespace wick
