#include "backend/cuda/hopper/tensor_map.h"

#include <cudaTypedefs.h>
#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include "backend/cuda/gpu.h"
#include "wick/error.h"

namespace wick::cuda {
namespace {

PFN_cuTensorMapEncodeTiled_v12000 encoder() {
  static const auto found =
      reinterpret_cast<PFN_cuTensorMapEncodeTiled_v12000>(driver_function("cuTensorMapEncodeTiled", 12000));
  if (!found) throw DeviceError("this NVIDIA driver has no tensor maps; install a newer one");
  return found;
}

/// Dimensions from the innermost one on, which has no stride.
struct Description {
  cuuint32_t rank;
  cuuint64_t sizes[4];
  cuuint64_t strides[3];  // bytes
  cuuint32_t box[4];
};

CUtensorMap encoded(const void* data, const Description& d, CUtensorMapSwizzle swizzle) {
  constexpr cuuint32_t steps[] = {1, 1, 1, 1};
  CUtensorMap map{};
  const CUresult result = encoder()(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, d.rank, const_cast<void*>(data),
                                    d.sizes, d.strides, d.box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, swizzle,
                                    CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (result != CUDA_SUCCESS)
    throw InternalError(fmt::format("CUDA refuses a tensor map of {} in boxes of {}: error {}",
                                    fmt::join(d.sizes, d.sizes + d.rank, " x "),
                                    fmt::join(d.box, d.box + d.rank, " x "), static_cast<int>(result)));
  return map;
}

template <typename To>
To as(std::int64_t number) {
  return static_cast<To>(number);
}

}  // namespace

CUtensorMap tensor_map(const BoxedMatrix& m) {
  const Description d{2,
                      {as<cuuint64_t>(m.columns), as<cuuint64_t>(m.rows)},
                      {as<cuuint64_t>(m.columns * 2)},
                      {as<cuuint32_t>(m.box_columns), as<cuuint32_t>(m.box_rows)}};
  return encoded(m.data, d, m.box_columns == 64 ? CU_TENSOR_MAP_SWIZZLE_128B : CU_TENSOR_MAP_SWIZZLE_64B);
}

CUtensorMap tensor_map(const BoxedHeads& h) {
  const Description d{
      4,
      {as<cuuint64_t>(h.columns), as<cuuint64_t>(h.rows), as<cuuint64_t>(h.heads), as<cuuint64_t>(h.batch)},
      {as<cuuint64_t>(h.row_step * 2), as<cuuint64_t>(h.head_step * 2), as<cuuint64_t>(h.batch_step * 2)},
      {64, as<cuuint32_t>(h.box_rows), 1, 1}};
  return encoded(h.data, d, CU_TENSOR_MAP_SWIZZLE_128B);
}

}  // namespace wick::cuda
