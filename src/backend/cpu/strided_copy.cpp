#include "backend/cpu/strided_copy.h"

#include <cstring>

#include "backend/cpu/dispatch.h"
#include "backend/cpu/parallel.h"

namespace wick {
namespace {

constexpr std::int64_t grain = 16384;  // elements that are worth a thread
constexpr std::int64_t tile = 16;      // side of a transposed block: its lines stay in the first-level cache

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

template <typename Word>
void StridedCopy::copy_tiles(const Word* source, Word* target) const {
  const Walk::Dim rows = walk_.run();
  const std::int64_t bands = (columns_.size + tile - 1) / tile;
  const std::int64_t source_step = rows.strides[from];
  const std::int64_t target_step = columns_.strides[to];
  const std::int64_t band_elements = tile * rows.size;
  parallel_for(outer_.count() * bands, std::max<std::int64_t>(1, grain / band_elements),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t b = begin; b < end; ++b) {
                   const Walk::Offsets at = outer_.offsets_at(b / bands);
                   const std::int64_t first = b % bands * tile;
                   const std::int64_t columns = std::min(tile, columns_.size - first);
                   const Word* const block = source + at[from] + first;
                   Word* const out = target + at[to] + first * target_step;
                   for (std::int64_t r = 0; r < rows.size; r += tile) {
                     const std::int64_t r_end = std::min(r + tile, rows.size);
                     for (std::int64_t c = 0; c < columns; ++c)
                       for (std::int64_t i = r; i < r_end; ++i)
                         out[c * target_step + i] = block[c + i * source_step];
                   }
                 }
               });
}

void StridedCopy::run(const void* source, void* target) const {
  if (walk_.count() == 0) return;
  visit_word(dtype_, [&]<typename Word>() {
    const auto* const words = static_cast<const Word*>(source);
    auto* const out = static_cast<Word*>(target);
    if (transposes_)
      copy_tiles(words, out);
    else
      copy_runs(words, out);
  });
}

}  // namespace wick
