#pragma once

// Positions and offsets in strided tensors, for the host, for nvcc, and compiled at run time: no includes.

#ifdef __CUDACC__
#define WICK_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define WICK_HOST_DEVICE inline
#endif

namespace wick::cuda {

inline constexpr int most_dims = 8;

/// 32-bit positions have 32-bit offsets: both fit below 2^31.
template <typename Index>
struct OffsetOf;
template <>
struct OffsetOf<unsigned int> {
  using type = int;
};
template <>
struct OffsetOf<unsigned long long> {
  using type = long long;
};

/// Division by a number that is known before the kernel runs.
template <typename Index>
struct Divisor {
  Index size = 1;
  static WICK_HOST_DEVICE Divisor of(Index size) { return {size}; }
  WICK_HOST_DEVICE Index quotient(Index n) const { return n / size; }
};

/// By a multiplication and a shift, for n < 2^31 (Granlund and Montgomery 1994, "Division by invariant
/// integers using multiplication").
template <>
struct Divisor<unsigned int> {
  unsigned int size = 1;
  unsigned int multiplier = 1;
  unsigned int shift = 0;

  static WICK_HOST_DEVICE Divisor of(unsigned int size) {
    unsigned int shift = 0;
    while ((1ull << shift) < size) ++shift;
    const unsigned long long excess = ((1ull << shift) - size) << 32;
    return {size, static_cast<unsigned int>(excess / size + 1), shift};
  }
  WICK_HOST_DEVICE unsigned int quotient(unsigned int n) const {
    const auto high = static_cast<unsigned int>((static_cast<unsigned long long>(n) * multiplier) >> 32);
    return (high + n) >> shift;
  }
};

/// The positions of a shape, row-major; dimensions outermost first.
template <typename Index>
struct Dims {
  Index count = 0;
  int rank = 0;
  Divisor<Index> sizes[most_dims];
};

/// Distances between neighbours along each of the dimensions.
template <typename Index>
struct Steps {
  typename OffsetOf<Index>::type by[most_dims] = {};
};

/// The offsets of position `i` in some operands.
template <typename Index, int operands>
WICK_HOST_DEVICE void offsets_at(const Dims<Index>& dims, Index i,
                                 const Steps<Index>* const (&steps)[operands],
                                 typename OffsetOf<Index>::type (&at)[operands]) {
  using Offset = typename OffsetOf<Index>::type;
  for (int k = 0; k < operands; ++k) at[k] = 0;
  for (int d = dims.rank - 1; d > 0; --d) {
    const Index rest = dims.sizes[d].quotient(i);
    const auto here = static_cast<Offset>(i - rest * dims.sizes[d].size);
    for (int k = 0; k < operands; ++k) at[k] += here * steps[k]->by[d];
    i = rest;
  }
  for (int k = 0; k < operands; ++k) at[k] += static_cast<Offset>(i) * steps[k]->by[0];
}

/// The same for one operand.
template <typename Index>
WICK_HOST_DEVICE typename OffsetOf<Index>::type offset_at(const Dims<Index>& dims, Index i,
                                                          const Steps<Index>& steps) {
  const Steps<Index>* const all[] = {&steps};
  typename OffsetOf<Index>::type at[1];
  offsets_at(dims, i, all, at);
  return at[0];
}

}  // namespace wick::cuda
