#pragma once

#include <cstdint>

#include "ops/attributes.h"
#include "wick/dtype.h"

// What lies around products on AMX. Only where it is available.
namespace wick {

/// Pairs of rows [depth / 2, amx_step, 2] of a matrix whose rows lie `row` elements apart, or for
/// `amx_pair_columns` its columns `column`. What is not among its rows and columns becomes zero. Only where
/// AMX is available.
void amx_pair_rows(const bfloat16* from, std::int64_t row, std::int64_t rows, std::int64_t columns,
                   std::int64_t depth, bfloat16* to);
void amx_pair_columns(const bfloat16* from, std::int64_t column, std::int64_t rows, std::int64_t columns,
                      std::int64_t depth, bfloat16* to);

/// What becomes of a product's sums: scale (sums + bias), added to c or in its place, and combined with a
/// matrix that lies as c does. c is bf16 or f32.
struct AmxFinish {
  float scale = 1;
  bool accumulate = false;
  DType c = DType::f32;
  Combination combination = Combination::none;
};
/// Of sums [rows, amx_step], as many columns as c has; `bias` and `combined` are null without one, rows of
/// c lie `c_row` elements apart.
void amx_finish(const AmxFinish& finish, const float* sums, const float* bias, const void* combined, void* c,
                std::int64_t c_row, std::int64_t rows, std::int64_t columns);

}  // namespace wick
