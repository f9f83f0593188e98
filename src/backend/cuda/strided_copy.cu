#include <algorithm>
#include <array>
#include <cstdint>

#include "backend/cpu/elementwise_tiles.h"
#include "backend/cuda/device/launch_order.cuh"
#include "backend/cuda/dispatch.cuh"
#include "backend/cuda/grid.h"
#include "backend/cuda/launch.h"
#include "backend/cuda/launch_kernel.h"
#include "backend/cuda/strided_copy.h"

namespace wick::cuda {
namespace {

constexpr int block_threads = 256;
constexpr int tile = 32;
constexpr int tile_rows = 8;

/// Elements by which the output is moved.
__device__ long long moved_by(const CopyStart& start) {
  if (!start.start) return 0;
  const long long at = start.wide ? *static_cast<const long long*>(start.start)
                                  : static_cast<long long>(*static_cast<const int*>(start.start));
  return (at < 0 ? 0 : at > start.last ? start.last : at) * start.step;
}

template <typename Word, typename Index>
__global__ void __launch_bounds__(block_threads)
    copy_words(const __grid_constant__ Dims<Index> dims, const __grid_constant__ Steps<Index> from_steps,
               const __grid_constant__ Steps<Index> to_steps, const Word* from, Word* to,
               const CopyStart start) {
  begin_in_order();
  to += moved_by(start);
  const Steps<Index>* const steps[] = {&from_steps, &to_steps};
  for (Index i = blockIdx.x * static_cast<Index>(block_threads) + threadIdx.x; i < dims.count;
       i += static_cast<Index>(gridDim.x) * block_threads) {
    typename OffsetOf<Index>::type at[2];
    offsets_at(dims, i, steps, at);
    to[at[1]] = from[at[0]];
  }
}

/// A matrix, or several: rows lie together in the input, columns in the output.
struct Transpose {
  long long rows;     ///< neighbours in the input
  long long columns;  ///< neighbours in the output
  long long from_column;
  long long to_row;
  long long row_tiles;
  long long tiles;  ///< of one matrix
};

template <typename Word>
__global__ void __launch_bounds__(tile* tile_rows)
    copy_transposed(const __grid_constant__ Dims<unsigned long long> matrices,
                    const __grid_constant__ Steps<unsigned long long> from_steps,
                    const __grid_constant__ Steps<unsigned long long> to_steps, const Transpose shape,
                    const Word* from, Word* to, const CopyStart start) {
  begin_in_order();
  __shared__ Word part[tile][tile + 1];
  to += moved_by(start);
  const Steps<unsigned long long>* const steps[] = {&from_steps, &to_steps};
  const long long all = static_cast<long long>(matrices.count) * shape.tiles;
  for (long long t = blockIdx.x; t < all; t += gridDim.x) {
    long long at[2];
    offsets_at(matrices, static_cast<unsigned long long>(t / shape.tiles), steps, at);
    const long long row = t % shape.tiles % shape.row_tiles * tile;
    const long long column = t % shape.tiles / shape.row_tiles * tile;
    for (int c = threadIdx.y; c < tile; c += tile_rows)
      if (row + threadIdx.x < shape.rows && column + c < shape.columns)
        part[c][threadIdx.x] = from[at[0] + (column + c) * shape.from_column + row + threadIdx.x];
    __syncthreads();
    for (int r = threadIdx.y; r < tile; r += tile_rows)
      if (row + r < shape.rows && column + threadIdx.x < shape.columns)
        to[at[1] + (row + r) * shape.to_row + column + threadIdx.x] = part[threadIdx.x][r];
    __syncthreads();
  }
}

template <typename Word>
__global__ void __launch_bounds__(block_threads)
    fill_words(const __grid_constant__ Dims<unsigned long long> dims,
               const __grid_constant__ Steps<unsigned long long> steps, Word word, Word* to) {
  begin_in_order();
  for (unsigned long long i = blockIdx.x * static_cast<unsigned long long>(block_threads) + threadIdx.x;
       i < dims.count; i += static_cast<unsigned long long>(gridDim.x) * block_threads)
    to[offset_at(dims, i, steps)] = word;
}

}  // namespace

StridedCopy::StridedCopy(const Shape& shape, DType dtype, const Strides& from, const Strides& to)
    : shape_(shape, std::array<Strides, 2>{from, to}), element_(size_of(dtype)) {
  const auto dims = shape_.dims();
  if (dims.size() < 2) return;
  const StridedShape::Dim& last = dims.back();
  if (last.strides[1] != 1 || last.strides[0] == 1 || last.size < tile / 2) return;
  for (std::size_t d = 0; d + 1 < dims.size(); ++d)
    if (dims[d].strides[0] == 1 && dims[d].size >= tile / 2) row_ = static_cast<int>(d);
}

std::size_t StridedCopy::word_bytes(const void* from, const void* to, const CopyStart& start) const {
  const auto dims = shape_.dims();
  if (dims.empty() || dims.back().strides[0] != 1 || dims.back().strides[1] != 1) return element_;
  std::uint64_t all = reinterpret_cast<std::uintptr_t>(from) | reinterpret_cast<std::uintptr_t>(to) |
                      static_cast<std::uint64_t>(dims.back().size) * element_ |
                      static_cast<std::uint64_t>(start.step) * element_ | 16;
  for (const StridedShape::Dim& dim : dims.first(dims.size() - 1))
    for (std::int64_t stride : dim.strides) all |= static_cast<std::uint64_t>(stride) * element_;
  return all & -all;  // the largest power of two that divides all
}

void StridedCopy::launch(const void* from, void* to, const CopyStart& start) const {
  if (shape_.count() == 0) return;
  const cudaStream_t stream = current_launch().stream;
  const auto dims = shape_.dims();
  if (transposes()) {
    const StridedShape::Dim& rows = dims[static_cast<std::size_t>(row_)];
    const StridedShape::Dim& columns = dims.back();
    std::vector<StridedShape::Dim> others;
    for (std::size_t d = 0; d + 1 < dims.size(); ++d)
      if (static_cast<int>(d) != row_) others.push_back(dims[d]);
    const StridedShape matrices(others);
    const long long row_tiles = (rows.size + tile - 1) / tile;
    const Transpose transpose{rows.size,       columns.size, columns.strides[0],
                              rows.strides[1], row_tiles,    row_tiles * ((columns.size + tile - 1) / tile)};
    const long long all = matrices.count() * transpose.tiles;
    visit_word(element_, [&]<typename Word>() {
      const auto blocks = static_cast<unsigned>(std::min<long long>(all, 32ll * multiprocessors()));
      launch_kernel(copy_transposed<Word>, {blocks, dim3(tile, tile_rows)}, stream, "copy_transposed",
                    matrices.device_dims<unsigned long long>(), matrices.device_steps<unsigned long long>(0),
                    matrices.device_steps<unsigned long long>(1), transpose, static_cast<const Word*>(from),
                    static_cast<Word*>(to), start);
    });
    return;
  }
  const std::size_t bytes = word_bytes(from, to, start);
  const auto width = static_cast<std::int64_t>(bytes / element_);
  // In words: the last dimension shrinks, the strides of the others do too.
  std::vector<StridedShape::Dim> words(dims.begin(), dims.end());
  for (std::size_t d = 0; d < words.size(); ++d) {
    if (d + 1 == words.size())
      words[d].size /= width;
    else
      for (std::int64_t& stride : words[d].strides) stride /= width;
  }
  const StridedShape shape(words);
  CopyStart moved = start;
  moved.step /= width;
  visit_word(bytes, [&]<typename Word>() {
    const auto run = [&]<typename Index>() {
      launch_kernel(copy_words<Word, Index>, {blocks_for(shape.count(), block_threads), block_threads},
                    stream, "copy_words", shape.device_dims<Index>(), shape.device_steps<Index>(0),
                    shape.device_steps<Index>(1), static_cast<const Word*>(from), static_cast<Word*>(to),
                    moved);
    };
    if (shape.is_small())
      run.template operator()<unsigned int>();
    else
      run.template operator()<unsigned long long>();
  });
}

StridedFill::StridedFill(const Shape& shape, DType dtype, double value, const Strides& to)
    : shape_(shape, std::span(&to, 1)), element_(size_of(dtype)) {
  write_number(value, dtype, &word_);
}

void StridedFill::launch(void* to) const {
  if (shape_.count() == 0) return;
  visit_word(element_, [&]<typename Word>() {
    if constexpr (!std::is_same_v<Word, uint4>)
      launch_kernel(fill_words<Word>, {blocks_for(shape_.count(), block_threads), block_threads},
                    current_launch().stream, "fill_words", shape_.device_dims<unsigned long long>(),
                    shape_.device_steps<unsigned long long>(0), static_cast<Word>(word_),
                    static_cast<Word*>(to));
  });
}

}  // namespace wick::cuda
