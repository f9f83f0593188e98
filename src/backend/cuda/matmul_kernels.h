#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "ops/attributes.h"
#include "wick/dtype.h"

// Launches of the products that are no matter for cuBLASLt.
namespace wick::cuda {

/// Any dtype, any strides: out [batch, m, n] = a b, with the batch dimensions outermost first.
struct PlainProduct {
  static constexpr int most_batch_dims = 6;
  const void* a;
  const void* b;
  void* out;
  std::int64_t m, n, k;
  std::int64_t a_row, a_column, b_row, b_column;
  int batch_dims;
  std::int64_t batch;  ///< products in all
  std::int64_t sizes[most_batch_dims];
  std::int64_t a_steps[most_batch_dims];
  std::int64_t b_steps[most_batch_dims];
  bool accumulate;  ///< adds what out holds
};
void launch_plain_product(DType dtype, const PlainProduct& product, cudaStream_t stream);

/// A matrix of 16-bit floats, rows of `depth` elements `stride` apart, by few vectors: out[row * row_step +
/// v * vector_step] = sum of matrix[row] vectors[v] + bias[row], plus what out held with `accumulate`. Depth,
/// strides and addresses are multiples of 16 bytes; the bias has the same dtype.
struct ThinProduct {
  static constexpr std::int64_t most_vectors = 16;
  const void* matrix;
  const void* vectors;
  const void* bias;  ///< null: none
  void* out;
  std::int64_t rows, depth, stride;
  std::int64_t count, vector_stride;
  std::int64_t row_step, vector_step;
  bool accumulate;
};
void launch_thin_product(DType dtype, const ThinProduct& product, cudaStream_t stream);

/// out [rows, columns] += bias [columns]; floats of one dtype.
void launch_add_bias(DType dtype, void* out, const void* bias, std::int64_t rows, std::int64_t columns,
                     cudaStream_t stream);

/// out = activation(out) + added, by element; `added` may be null. Floats of at most 32 bits; none or
/// gelu_tanh.
void launch_epilogue(DType dtype, void* out, Activation activation, const void* added, std::int64_t count,
                     cudaStream_t stream);

/// Floats of one dtype as another.
void launch_convert(DType from_dtype, const void* from, DType to_dtype, void* to, std::int64_t count,
                    cudaStream_t stream);

}  // namespace wick::cuda
