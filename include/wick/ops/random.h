#pragma once

#include "wick/tensor.h"

namespace wick {

// Counter-based random numbers: Philox-4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1,
// 2, 3"). Element i depends on the key and on i only, never on threads or devices.

/// Key for the functions below: a data tensor (i64 [2]) of a seed and a stream number; the same key gives the
/// same numbers. As data, it is no part of a plan's structure. Streams from 2^62 on are those that
/// `random_normal` draws its second numbers from.
Tensor random_key(std::uint64_t seed, std::uint64_t stream = 0);

/// Uniform in [0, 1), with as many random bits as the dtype can hold without rounding up to 1: 8 (bf16), 11
/// (f16), 24 (f32) or 53 (f64).
Tensor random_uniform(const Tensor& key, const Shape& shape, DType dtype = DType::f32,
                      SourceLocation where = SourceLocation::current());
/// Standard normal (Box-Muller).
Tensor random_normal(const Tensor& key, const Shape& shape, DType dtype = DType::f32,
                     SourceLocation where = SourceLocation::current());
/// x with elements set to 0 with probability p, the others scaled by 1 / (1 - p). p in [0, 1)
/// (ArgumentError).
Tensor dropout(const Tensor& x, double p, const Tensor& key,
               SourceLocation where = SourceLocation::current());

}  // namespace wick
