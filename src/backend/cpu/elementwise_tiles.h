#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string_view>

#include "wick/dtype.h"

// Elementwise arithmetic on tiles: short contiguous arrays of a compute type, f32, f64, i32, i64, u8 or bool
// (one byte of 0 or 1). bf16 and f16 compute in f32.
namespace wick {

/// out[i] = f(a[i], b[i], c[i]) for i in [0, n); operands that an op does not have are not read. `out` may be
/// one of the operands.
using TileFunction = void (*)(const void* a, const void* b, const void* c, void* out, std::size_t n);

/// Reads n elements that lie `stride` elements apart (0 and negative too) into a tile of their compute type.
using TileLoad = void (*)(const void* source, std::ptrdiff_t stride, void* tile, std::size_t n);

/// Writes a tile to n contiguous elements.
using TileStore = void (*)(const void* tile, void* out, std::size_t n);

constexpr DType compute_type(DType dtype) noexcept {
  return dtype == DType::bf16 || dtype == DType::f16 ? DType::f32 : dtype;
}

/// The functions of one op, by compute type in the order of `tile_types`; null where there is none.
inline constexpr std::array tile_types{DType::f32, DType::f64, DType::i32,
                                       DType::i64, DType::u8,  DType::bool_};
struct TileOp {
  std::string_view op;
  std::array<TileFunction, tile_types.size()> functions{};
};

std::span<const TileOp> arithmetic_tiles();
std::span<const TileOp> math_tiles();

/// The function of an op for operands of compute type `type` (of `where`: the branches), or null.
TileFunction find_tile(std::string_view op, DType type);

/// The conversion between two compute types: floats to integers truncate and saturate, NaN gives 0. Null when
/// equal.
TileFunction conversion_tile(DType from, DType to);

TileLoad tile_load(DType dtype);
TileStore tile_store(DType dtype);

/// Writes `value`, converted as above, as one element.
void write_number(double value, DType dtype, void* element);

}  // namespace wick
