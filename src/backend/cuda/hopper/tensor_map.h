#pragma once

#include <cuda.h>

#include <cstdint>

namespace wick::cuda {

/// A row-major bf16 matrix as the copy engine of compute capability 9.0 reads and writes it: in boxes, whose
/// rows are 64 or 128 bytes long and lie swizzled in shared memory. What a box has outside of the matrix is
/// read as zeros and not written.
struct BoxedMatrix {
  const void* data;  ///< a multiple of 16 bytes
  std::int64_t rows;
  std::int64_t columns;  ///< a multiple of 8
  int box_rows;          ///< up to 256
  int box_columns;       ///< 32 or 64
};

CUtensorMap tensor_map(const BoxedMatrix& matrix);

/// The same for a bf16 tensor [batch, heads, rows, columns] whose boxes are rows of 64 columns of one head.
/// Columns lie together; the other distances, in elements, are multiples of 8 and not 0.
struct BoxedHeads {
  const void* data;
  std::int64_t batch, heads, rows, columns;
  std::int64_t batch_step, head_step, row_step;
  int box_rows;
};

CUtensorMap tensor_map(const BoxedHeads& heads);

}  // namespace wick::cuda
