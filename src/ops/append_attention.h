#pragma once

#include "graph/op.h"

namespace wick {

/// Attention of one new position a row to a cache that it is appended to first. Inputs are q [batch, heads,
/// 1, d], k and v [batch, kv_heads, 1, d], cos and sin as for rope, the caches of k and v [batch, kv_heads,
/// n, d], and the position as a rank-0 i64; attributes those of attention. The result is
///
///   attention(rope(q), slice_update(k_cache, rope(k), position), slice_update(v_cache, v, position))
///
/// with the position as the offset, and it updates both caches. Only the pass that makes it knows the op, and
/// only where the backend has a kernel for it.
const Op& append_attention_op();

/// Positions among the inputs.
struct AppendAttentionInputs {
  static constexpr std::size_t q = 0, k = 1, v = 2, cos = 3, sin = 4, k_cache = 5, v_cache = 6, position = 7;
};

}  // namespace wick
