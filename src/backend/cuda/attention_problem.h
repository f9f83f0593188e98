#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "wick/dtype.h"

namespace wick::cuda {

/// Distances in elements along [batch, head, position, d]; 0 along what is broadcast.
struct AttentionSteps {
  std::int64_t batch;
  std::int64_t head;
  std::int64_t position;
  std::int64_t d;
};

/// An attention with its addresses, as kernels take it. Positions are those of `attention.cpp` of the ops.
struct AttentionProblem {
  DType dtype;
  DType mask_dtype;
  std::int64_t batch, heads, kv_heads;
  std::int64_t m, n, d;
  double scale;
  bool causal;
  std::int64_t window;  ///< 0: none
  AttentionSteps q_steps, k_steps, v_steps, out_steps;
  AttentionSteps mask_steps;  ///< along [batch, head, query, key]
  const void* q;
  const void* k;
  const void* v;
  const void* mask;         ///< null: none
  const long long* offset;  ///< position of query 0; null: n - m
  void* out;
};

/// A table of a rotation, [batch, position, half of d]: distances in elements, 0 along what is broadcast.
struct RotationTable {
  const float* data;
  std::int64_t batch;
  std::int64_t position;
  std::int64_t d;
};

/// The same backward. The gradients' rows of d lie without gaps.
struct AttentionGradientProblem {
  AttentionProblem forward;
  AttentionSteps out_steps, grad_steps;
  AttentionSteps q_gradient_steps, k_gradient_steps;  ///< v's are k's
  const void* out;
  const void* grad;
  void* q_gradient;
  void* k_gradient;
  void* v_gradient;
  /// Of q and k, by which their gradients go back to what they were before; null: none.
  RotationTable cos, sin;
  /// Three numbers a query, f64 for f64 and else f32, see attention.cuh.
  void* statistics;
  /// Sums of the gradients of k and v by parts of the heads that share a key head, if there is more than one
  /// part: [parts, 2] of what the gradients of k and v are made of, in their order.
  float* partial;
};

inline constexpr std::int64_t most_attention_d = 256;

/// Any float dtype and layout; f64 without a rotation.
void launch_plain_attention(const AttentionProblem& problem, cudaStream_t stream);
void launch_plain_attention_gradient(const AttentionGradientProblem& problem, cudaStream_t stream);

/// 16-bit floats whose rows of d (a multiple of 8) lie together at multiples of 16 bytes.
void launch_flash_attention(const AttentionProblem& problem, cudaStream_t stream);
/// The same for d up to 128.
inline constexpr std::int64_t most_flash_gradient_d = 128;
std::int64_t flash_gradient_parts(const AttentionProblem& problem);
void launch_flash_attention_gradient(const AttentionGradientProblem& problem, cudaStream_t stream);

/// Rotates the gradients of q and k back where they lie, if they are to be.
void launch_rotation_back(const AttentionGradientProblem& problem, cudaStream_t stream);

/// The same for few queries and d up to 128: the queries of all heads that share a key head, at most 16, are
/// worked on together, and blocks split the keys.
inline constexpr std::int64_t most_decode_rows = 16;
inline constexpr std::int64_t most_decode_d = 128;
std::size_t decode_attention_scratch(const AttentionProblem& problem);
void launch_decode_attention(const AttentionProblem& problem, void* scratch, cudaStream_t stream);

}  // namespace wick::cuda
