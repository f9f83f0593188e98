#include "backend/cpu/matrix_product.h"

#include "backend/cpu/activated_product.h"
#include "backend/cpu/amx_matmul.h"
#include "backend/cpu/matmul_dnnl.h"

namespace wick {

std::unique_ptr<const MatrixProduct> MatrixProduct::make(const MatmulProblem& problem, DType dtype,
                                                         const ProductOptions& options) {
  if (auto product = AmxMatmul::make(problem, dtype, options)) return product;
  if (auto product = DnnlMatmul::make(problem, dtype, options)) return product;
  return ActivatedProduct::make(problem, dtype, options);
}

}  // namespace wick
