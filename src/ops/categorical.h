#pragma once

#include "wick/tensor.h"

namespace wick {

/// Draws a place of each row of scores [rows, n], n > 0, in proportion to exp(score / temperature), by
/// inversion: the first whose running sum of weights exceeds `share` (f64, one number, from 0 to below 1) of
/// the row's. At temperature 0 without a share, the first of the largest, with the weights of temperature 1.
/// f64 [rows, 3]: the place, its share of the weights and its score. The share is NaN where a score is NaN or
/// plus infinity, or all are minus infinity. Throws ArgumentError for a temperature that is not finite or
/// below 0, and where a share comes with temperature 0 or without does not; ShapeError and DTypeError.
Tensor categorical(const Tensor& scores, double temperature, const Tensor& share = {},
                   SourceLocation where = SourceLocation::current());

}  // namespace wick
