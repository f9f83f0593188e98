#include "ops/indices.h"

#include <fmt/format.h>

#include "wick/error.h"

namespace wick {

void require_index(DType dtype) {
  if (dtype != DType::i32 && dtype != DType::i64)
    throw DTypeError(fmt::format("indices must be i32 or i64, not {}", name_of(dtype)));
}

void require_indices_along(const Spec& x, const Spec& indices, int axis) {
  require_index(indices.dtype);
  if (indices.shape.rank() != x.shape.rank() || !(indices.shape.with(axis, x.shape[axis]) == x.shape))
    throw ShapeError(fmt::format("the indices {} must have the shape of x, {}, but for dimension {}",
                                 indices.shape.str(), x.shape.str(), axis));
}

}  // namespace wick
