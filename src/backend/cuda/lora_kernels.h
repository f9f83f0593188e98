#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <span>

#include "wick/dtype.h"

// Launches of what low-rank adapters add to products: activations are bf16, adapters f32. Rows of activations
// are multiples of 8 elements.
namespace wick::cuda {

inline constexpr std::int64_t most_lora_rank = 64;
/// Projections, or gradients, of as many rows and ranks each that are computed together.
inline constexpr int most_joined = 8;

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
/// Whether several of this rank are one launch.
bool joins_lora_projections(std::int64_t rank);
void launch_lora_projections(std::span<const LoraProjection> members, cudaStream_t stream);

/// out [rows, columns] = t [rows, rank] b^T + bias, in bf16, or added to what `out` holds; element (n, i) of
/// b lies at n column_step + i rank_step.
struct LoraExpansion {
  const float* t;
  const float* b;
  const void* bias;  ///< [columns]; null: none
  DType bias_dtype;
  void* out;
  std::int64_t rows, columns, rank;
  std::int64_t column_step, rank_step;
  bool accumulate;
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
/// Whether several are one launch.
bool joins_lora_gradients();
void launch_lora_gradients(std::span<const LoraGradient> members, cudaStream_t stream);

}  // namespace wick::cuda
