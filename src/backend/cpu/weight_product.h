#pragma once

#include <memory>
#include <vector>

#include "backend/backend.h"
#include "backend/cpu/matmul_dnnl.h"
#include "backend/cpu/matrix_product.h"

namespace wick {

/// A product whose b is an input of a kernel: it reads b packed where b is a weight and that pays.
struct WeightProduct {
  /// `input`: which of the request's is b. No product where MatrixProduct has none.
  static WeightProduct make(const KernelRequest& request, std::uint32_t input, const MatmulProblem& problem,
                            DType dtype, ProductOptions options = {});

  std::unique_ptr<const MatrixProduct> product;
  std::vector<Packing> packings;  ///< b's, or none
};

}  // namespace wick
