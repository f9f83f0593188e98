#pragma once

#include "backend/cuda/attention_problem.h"

namespace wick::cuda {

/// Distances in elements; 0 along what is broadcast.
struct RotationSteps {
  std::int64_t batch;
  std::int64_t pair;
};

/// Attention of one position a row that is first rotated and appended to the cache, as
/// `ops/append_attention.h` says. In `attention`, q is not rotated yet, m is 1, k and v are left out, and
/// there is no mask; d is at most `most_decode_d`, and at most `most_decode_rows` heads share a key head.
struct AppendedAttention {
  AttentionProblem attention;
  AttentionSteps k_steps, v_steps;  ///< of the new position
  const void* k;
  const void* v;
  const float* cos;  ///< [batch, d / 2]
  const float* sin;
  RotationSteps cos_steps, sin_steps;
  void* k_cache;  ///< [batch, kv_heads, n, d], changed at the position
  void* v_cache;
};
void launch_appended_attention(const AppendedAttention& problem, cudaStream_t stream);

}  // namespace wick::cuda
