#include "backend/cpu/indices.h"

#include <fmt/format.h>

#include "backend/cpu/strided_walk.h"
#include "wick/error.h"

namespace wick {
namespace {

template <typename T>
void resolve(const Slot& indices, const T* data, std::int64_t size, std::int64_t* resolved) {
  const StridedWalk<1> walk(indices.shape(), {indices.layout.strides});
  const std::int64_t stride = walk.run().strides[0];
  walk.for_each_run(0, walk.count(), [&](const StridedWalk<1>::Offsets& at, std::int64_t length) {
    for (std::int64_t i = 0; i < length; ++i) {
      const std::int64_t index = data[at[0] + i * stride];
      if (index < -size || index >= size)
        throw ArgumentError(fmt::format("index {} is out of range for a dimension of size {}", index, size));
      *resolved++ = index < 0 ? index + size : index;
    }
  });
}

}  // namespace

std::size_t resolved_bytes(const Slot& indices) {
  return static_cast<std::size_t>(indices.shape().elements()) * sizeof(std::int64_t);
}

void resolve_indices(const Slot& indices, const void* data, std::int64_t size, std::int64_t* resolved) {
  if (indices.dtype == DType::i32)
    resolve(indices, static_cast<const std::int32_t*>(data), size, resolved);
  else
    resolve(indices, static_cast<const std::int64_t*>(data), size, resolved);
}

}  // namespace wick
