#include "backend/cpu/weight_product.h"

namespace wick {
namespace {

/// With fewer rows the product is bound by how fast the weight is read, in any layout.
constexpr std::int64_t fewest_rows = 8;
/// One weight gets this part of the budget at most: it is packed in the arena the first time.
constexpr std::uint64_t budget_parts = 8;

}  // namespace

WeightProduct WeightProduct::make(const KernelRequest& request, std::uint32_t input,
                                  const MatmulProblem& problem, DType dtype, ProductOptions options) {
  const std::uint64_t plain_bytes = static_cast<std::uint64_t>(problem.k * problem.n) * size_of(dtype);
  const bool pays = request.inputs[input].is_weight && problem.batch.empty() && problem.m >= fewest_rows &&
                    plain_bytes <= request.packing_budget / budget_parts;
  if (pays) {
    options.packed = true;
    if (auto product = MatrixProduct::make(problem, dtype, options)) {
      Packing packing{input, product->packed_bytes(), product->format()};
      if (packing.bytes <= request.packing_budget) return {std::move(product), {std::move(packing)}};
    }
    options.packed = false;
  }
  return {MatrixProduct::make(problem, dtype, options), {}};
}

}  // namespace wick
