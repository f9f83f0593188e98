#include "backend/cpu/layer_products.h"

#include <algorithm>

#include "backend/cpu/matmul_dnnl.h"
#include "wick/error.h"

namespace wick {

MatmulProblem product_of(std::int64_t m, std::int64_t n, std::int64_t k, bool transposed) {
  const MatrixStrides weight = transposed ? MatrixStrides{n, 1} : MatrixStrides{1, k};
  return {.m = m, .n = n, .k = k, .a = {k, 1}, .b = weight, .batch = {}};
}

std::unique_ptr<const MatrixProduct> require_product(std::unique_ptr<const MatrixProduct> product) {
  if (!product) throw InternalError("no kernel for a product of an adapter");
  return product;
}

std::int64_t rows_of(const KernelRequest& request) {
  return request.output.shape().elements() / request.output.shape().dim(-1);
}

bool supports_products(const KernelRequest& request, std::span<const Slot> of_adapter) {
  const DType dtype = request.inputs[0].dtype;
  const auto fits = [&](const Slot& slot) {
    return (slot.dtype == dtype || slot.dtype == DType::f32) && slot.shape().elements() > 0;
  };
  return DnnlMatmul::available(dtype) && request.inputs[0].shape().elements() > 0 &&
         std::all_of(of_adapter.begin(), of_adapter.end(), fits) &&
         request.output.shape().elements() > request.output.shape().dim(-1);
}

}  // namespace wick
