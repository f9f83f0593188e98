#include "backend/cpu/strided_copy.h"

#include <cstring>

#include "backend/cpu/dispatch.h"
#include "backend/cpu/parallel.h"

namespace wick {
namespace {

constexpr std::int64_t grain = 16384;  // elements that are worth a thread

template <typename Word>
void copy_run(const Word* source, std::int64_t source_stride, Word* target, std::int64_t target_stride,
              std::int64_t count) {
  if (target_stride == 1 && source_stride == 1) {
    std::memcpy(target, source, static_cast<std::size_t>(count) * sizeof(Word));
  } else if (target_stride == 1 && source_stride == 0) {
    std::fill_n(target, count, *source);
  } else {
    for (std::int64_t i = 0; i < count; ++i) target[i * target_stride] = source[i * source_stride];
  }
}

/// A tile is a cache line wide. It goes through a buffer so that its lines are read and written whole: rows
/// that lie a power of two apart share the sets of a cache and would push each other out.
template <typename Word>
constexpr std::int64_t tile_side = static_cast<std::int64_t>(64 / sizeof(Word));

constexpr std::int64_t block_side = 256;

template <typename Word>
void turn_tile(const Word* source, std::int64_t source_step, Word* target, std::int64_t target_step,
               std::int64_t rows, std::int64_t columns) {
  Word tile[tile_side<Word>][tile_side<Word>];
  for (std::int64_t r = 0; r < rows; ++r)
    std::memcpy(tile[r], source + r * source_step, static_cast<std::size_t>(columns) * sizeof(Word));
  for (std::int64_t c = 0; c < columns; ++c) {
    Word line[tile_side<Word>];
    for (std::int64_t r = 0; r < rows; ++r) line[r] = tile[r][c];
    std::memcpy(target + c * target_step, line, static_cast<std::size_t>(rows) * sizeof(Word));
  }
}

}  // namespace

StridedCopy::StridedCopy(const Shape& shape, DType dtype, const Strides& source, const Strides& target)
    : dtype_(dtype), walk_(shape, {source, target}), outer_(std::span<const Walk::Dim>{}) {
  const Walk::Dim run = walk_.run();
  if (run.strides[to] != 1 || run.strides[from] == 0 || run.strides[from] == 1) return;
  std::vector<Walk::Dim> others(walk_.dims().begin(), walk_.dims().end() - 1);
  const auto dense =
      std::find_if(others.begin(), others.end(), [](const Walk::Dim& dim) { return dim.strides[from] == 1; });
  if (dense == others.end()) return;
  transposes_ = true;
  columns_ = *dense;
  others.erase(dense);
  outer_ = Walk(others);
}

template <typename Word>
void StridedCopy::copy_runs(const Word* source, Word* target) const {
  const Walk::Dim run = walk_.run();
  parallel_for(walk_.count(), grain, [&](std::int64_t begin, std::int64_t end) {
    walk_.for_each_run(begin, end, [&](const Walk::Offsets& at, std::int64_t length) {
      copy_run(source + at[from], run.strides[from], target + at[to], run.strides[to], length);
    });
  });
}

/// Blocks are turned tile by tile: one tile after another in memory would touch new pages all the time.
template <typename Word>
void StridedCopy::copy_blocks(const Word* source, Word* target) const {
  constexpr std::int64_t tile = tile_side<Word>;
  const Walk::Dim rows = walk_.run();
  const std::int64_t row_blocks = (rows.size + block_side - 1) / block_side;
  const std::int64_t column_blocks = (columns_.size + block_side - 1) / block_side;
  const auto copy_block = [&](std::int64_t block) {
    const Walk::Offsets at = outer_.offsets_at(block / (row_blocks * column_blocks));
    const std::int64_t first_row = block / column_blocks % row_blocks * block_side;
    const std::int64_t first_column = block % column_blocks * block_side;
    const std::int64_t last_row = std::min(rows.size, first_row + block_side);
    const std::int64_t last_column = std::min(columns_.size, first_column + block_side);
    for (std::int64_t c = first_column; c < last_column; c += tile)
      for (std::int64_t r = first_row; r < last_row; r += tile) {
        const Word* const from_tile = source + at[from] + r * rows.strides[from] + c;
        Word* const to_tile = target + at[to] + c * columns_.strides[to] + r;
        const std::int64_t height = std::min(tile, last_row - r);
        const std::int64_t width = std::min(tile, last_column - c);
        if (height == tile && width == tile)
          turn_tile(from_tile, rows.strides[from], to_tile, columns_.strides[to], tile, tile);
        else
          turn_tile(from_tile, rows.strides[from], to_tile, columns_.strides[to], height, width);
      }
  };
  const std::int64_t block_elements = std::min(rows.size, block_side) * std::min(columns_.size, block_side);
  parallel_for(outer_.count() * row_blocks * column_blocks, std::max<std::int64_t>(1, grain / block_elements),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t block = begin; block < end; ++block) copy_block(block);
               });
}

void StridedCopy::run(const void* source, void* target) const {
  if (walk_.count() == 0) return;
  visit_word(dtype_, [&]<typename Word>() {
    const auto* const words = static_cast<const Word*>(source);
    auto* const out = static_cast<Word*>(target);
    if (transposes_)
      copy_blocks(words, out);
    else
      copy_runs(words, out);
  });
}

}  // namespace wick
