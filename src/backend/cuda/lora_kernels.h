#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "wick/dtype.h"

// Launches of what low-rank adapters add to products: activations are bf16, adapters f32. Rows of activations
// are multiples of 8 elements.
namespace wick::cuda {

inline constexpr std::int64_t most_lora_rank = 64;

/// out [rows, rank] = scale x [rows, depth] a^T, in f32; element (i, k) of a lies at i rank_step + k
/// depth_step.
struct LoraProjection {
  const void* x;
  const float* a;
  float* out;
  std::int64_t rows, depth, rank;
  std::int64_t rank_step, depth_step;
  float scale;
};
void launch_lora_projection(const LoraProjection& projection, cudaStream_t stream);

/// out [rows, columns] = t [rows, rank] b^T + bias, in bf16; element (n, i) of b lies at n column_step + i
/// rank_step.
struct LoraExpansion {
  const float* t;
  const float* b;
  const void* bias;  ///< [columns]; null: none
  DType bias_dtype;
  void* out;
  std::int64_t rows, columns, rank;
  std::int64_t column_step, rank_step;
};
void launch_lora_expansion(const LoraExpansion& expansion, cudaStream_t stream);

/// out = x [rows, columns]^T t [rows, rank], in f32; element (n, i) goes to n column_step + i rank_step. Rows
/// are split in a way that depends on the sizes only; `partial` holds the parts' sums, if there are several.
struct LoraGradient {
  const void* x;
  const float* t;
  float* out;
  float* partial;
  std::int64_t rows, columns, rank;
  std::int64_t column_step, rank_step;
};
std::int64_t lora_gradient_parts(const LoraGradient& gradient);
void launch_lora_gradient(const LoraGradient& gradient, cudaStream_t stream);

}  // namespace wick::cuda
