#pragma once

#include <cstddef>
#include <string_view>

#include "wick/dtype.h"

// The arithmetic of reductions, on short contiguous arrays of a compute type (see elementwise_tiles.h). Three
// kinds of numbers: elements; blocks, sums of few elements that fit a vector register; totals, wide enough
// for any number of blocks (f64 for a sum of f32, so that the error does not grow with the count).
namespace wick {

/// The most elements or rows that go into a block before it goes into a total.
inline constexpr std::size_t reduce_block = 256;

/// Functions of one reduction and one compute type; `n` counts elements, blocks or totals.
struct ReduceTiles {
  std::size_t block_bytes;  ///< of one block
  std::size_t total_bytes;  ///< of one total
  void (*start_totals)(void* totals, std::size_t n);
  void (*start_blocks)(void* blocks, std::size_t n);
  /// *total += the elements, in a fixed order
  void (*reduce)(const void* elements, std::size_t n, void* total);
  /// blocks[i] += elements[i]
  void (*accumulate)(const void* elements, void* blocks, std::size_t n);
  /// totals[i] += blocks[i]
  void (*fold)(const void* blocks, void* totals, std::size_t n);
  /// totals[i] += others[i]
  void (*combine)(const void* others, void* totals, std::size_t n);
  /// out[i] = totals[i], as elements of `dtype`
  void (*store)(const void* totals, DType dtype, void* out, std::size_t n);
};

/// The functions of "sum", "max" or "min" for elements of compute type `type`.
const ReduceTiles& reduce_tiles(std::string_view op, DType type);

}  // namespace wick
