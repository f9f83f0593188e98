#pragma once

#include <cstdint>

#include "wick/dtype.h"

namespace wick {

enum class NormOf : std::uint8_t { rms, layer, rms_gradient, layer_gradient };

/// Of a gradient: rows of those of the result that are summed up behind the first, and of what is added to
/// it; null where there are fewer.
struct NormGradientRows {
  const void* more[2] = {nullptr, nullptr};
  const void* added = nullptr;
};

/// Rows of x [rows, d], and beside them of y: of a norm what is added to x, the sum of which goes to `sum`,
/// or null; of a gradient that of the result. Weight and bias may be null; `out` may be x, y or another of
/// them.
struct NormRows {
  DType dtype;
  const void* x;
  const void* y;
  void* sum;
  void* out;
  std::int64_t rows;
  std::int64_t d;
  const float* weight;
  const float* bias;
  double eps;
  NormGradientRows gradient = {};
};

/// On the calling thread.
void run_norm_rows(const NormRows& job, NormOf of);

}  // namespace wick
