#pragma once

#include "graph/op.h"

namespace wick {

/// Throws DTypeError for indices that are neither i32 nor i64.
void require_index(DType dtype);

/// Checks that indices [..., n, ...] and x agree in every dimension but `axis`.
void require_indices_along(const Spec& x, const Spec& indices, int axis);

}  // namespace wick
