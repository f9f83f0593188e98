#pragma once

#include <memory>
#include <span>

#include "backend/backend.h"
#include "backend/cpu/matrix_product.h"

// What kernels of linear layers and of their adapters share.
namespace wick {

inline std::int64_t padded(std::int64_t bytes) { return (bytes + 63) / 64 * 64; }

/// x [m, k] by a weight [n, k], or [k, n] when `transposed`.
MatmulProblem product_of(std::int64_t m, std::int64_t n, std::int64_t k, bool transposed);

/// Throws InternalError for none.
std::unique_ptr<const MatrixProduct> require_product(std::unique_ptr<const MatrixProduct> product);

/// Of the output.
std::int64_t rows_of(const KernelRequest& request);

/// Whether there is something to multiply in more than one row (linear has the better kernels for one), and
/// the adapter's dtypes are x's or f32.
bool supports_products(const KernelRequest& request, std::span<const Slot> of_adapter);

}  // namespace wick
