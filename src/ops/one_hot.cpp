#include <fmt/format.h>

#include "ops/axis.h"
#include "ops/helpers.h"
#include "wick/error.h"
#include "wick/ops/indexing.h"
#include "wick/ops/movement.h"

namespace wick {

Tensor one_hot(const Tensor& indices, std::int64_t classes, DType dtype, SourceLocation where) {
  if (is_floating(indices.dtype()) || indices.dtype() == DType::bool_)
    refuse<DTypeError>("one_hot", indices, "the indices must be integers", where);
  if (classes < 0)
    refuse<ArgumentError>("one_hot", indices, fmt::format("the number of classes is {}", classes), where);
  const Tensor hit =
      equal({expand_dims(indices, -1, where), where}, {arange(classes, DType::i64, 0, 1, where), where});
  return cast_to(hit, dtype, where);
}

}  // namespace wick
