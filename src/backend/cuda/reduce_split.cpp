#include "backend/cuda/reduce_split.h"

#include <algorithm>
#include <bit>
#include <cstdlib>

namespace wick::cuda {
namespace {

constexpr std::int64_t enough_blocks = 528;  // four for each multiprocessor of the largest GPUs
constexpr std::int64_t most_parts = 1024;

int power_of_two(std::int64_t at_least, int most) {
  return static_cast<int>(
      std::bit_ceil(static_cast<std::uint64_t>(std::clamp<std::int64_t>(at_least, 1, most))));
}

/// Of all operands together.
std::int64_t inner_stride(const StridedShape& shape) {
  std::int64_t sum = 0;
  if (!shape.dims().empty())
    for (std::int64_t stride : shape.dims().back().strides) sum += std::abs(stride);
  return sum;
}

StridedShape select_dims(const Shape& shape, std::span<const Strides> strides, std::uint32_t axes,
                         bool reduced) {
  std::vector<StridedShape::Dim> dims;
  for (int d = 0; d < shape.rank(); ++d) {
    if (((axes >> d & 1u) != 0) != reduced) continue;
    dims.push_back({shape[d], {}});
    for (const Strides& of : strides) dims.back().strides.push_back(of[static_cast<std::size_t>(d)]);
  }
  return StridedShape(dims);
}

/// Whether packs of `width` along the reduced dimension begin at multiples of it.
bool packs_fit(const StridedShape& kept, const StridedShape& reduced, std::int64_t width) {
  if (reduced.dims().size() != 1 || reduced.count() < width) return false;
  const auto& along = reduced.dims()[0].strides;
  for (std::size_t k = 0; k < along.size(); ++k) {
    if (along[k] != 0 && along[k] != 1) return false;
    for (const StridedShape::Dim& dim : kept.dims())
      if (along[k] == 1 && dim.strides[k] % width != 0) return false;
  }
  return std::find(along.begin(), along.end(), 1) != along.end();
}

}  // namespace

ReduceSplit::ReduceSplit(const Shape& shape, std::span<const Strides> strides, std::uint32_t axes,
                         std::int64_t width)
    : operand_count(strides.size()),
      kept(select_dims(shape, strides, axes, false)),
      reduced(select_dims(shape, strides, axes, true)) {
  const std::int64_t count = reduced.count();
  split.lanes_together = outputs() == 1 || inner_stride(reduced) < inner_stride(kept);
  may_pack = split.lanes_together && packs_fit(kept, reduced, width);
  if (split.lanes_together)
    split.lanes = power_of_two(count / (may_pack ? 2 * width : 4), reduce_threads);
  else
    split.lanes = std::min(power_of_two(count / 4, reduce_threads),
                           reduce_threads / power_of_two(outputs(), reduce_threads / 8));
  split.part = std::max<std::int64_t>(count, 1);
  if (outputs() == 0) return;
  const std::int64_t wanted = std::clamp<std::int64_t>(
      std::min(enough_blocks / blocks(), count / (std::int64_t{16} * split.lanes)), 1, most_parts);
  split.part = std::max<std::int64_t>(16, ((count + wanted - 1) / wanted + 15) / 16 * 16);
  parts = std::max<std::int64_t>(1, (count + split.part - 1) / split.part);
}

unsigned ReduceSplit::blocks_of(const Split& of) const {
  const int a_block = reduce_threads / of.lanes;
  return static_cast<unsigned>((outputs() + a_block - 1) / a_block);
}

}  // namespace wick::cuda
