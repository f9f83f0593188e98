#pragma once

#include "backend/backend.h"

namespace wick {

/// Scratch for the indices of a slot.
std::size_t resolved_bytes(const Slot& indices);

/// Reads indices (i32 or i64, any layout) into `resolved`, in row-major order, counting negative ones from
/// the end. Throws ArgumentError for the first one that is outside a dimension of `size`.
void resolve_indices(const Slot& indices, const void* data, std::int64_t size, std::int64_t* resolved);

}  // namespace wick
