#pragma once

#include <cstdint>

#include "backend/cuda/device/numbers.cuh"

// The instructions of compute capability 8.0 that products of 16-bit floats are made of.
namespace wick::cuda {

/// Registers of one thread: of a 16x16 left operand, a 16x8 right operand, a 16x8 sum. Thread 4 g + t holds
/// of the left rows g and g + 8, columns 2 t, 2 t + 1 and those plus 8; of the right the same rows of column
/// g; of the sum rows g and g + 8, columns 2 t and 2 t + 1.
struct LeftTile {
  std::uint32_t x[4];
};
struct RightTile {
  std::uint32_t x[2];
};
struct SumTile {
  float x[4] = {};
};

/// sum += left right
template <typename T>
__device__ inline void multiply_add(SumTile& sum, const LeftTile& a, const RightTile& b) {
  if constexpr (same_type<T, F16>)
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
        "{%0,%1,%2,%3};"
        : "+f"(sum.x[0]), "+f"(sum.x[1]), "+f"(sum.x[2]), "+f"(sum.x[3])
        : "r"(a.x[0]), "r"(a.x[1]), "r"(a.x[2]), "r"(a.x[3]), "r"(b.x[0]), "r"(b.x[1]));
  else
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
        "{%0,%1,%2,%3};"
        : "+f"(sum.x[0]), "+f"(sum.x[1]), "+f"(sum.x[2]), "+f"(sum.x[3])
        : "r"(a.x[0]), "r"(a.x[1]), "r"(a.x[2]), "r"(a.x[3]), "r"(b.x[0]), "r"(b.x[1]));
}

/// Two floats as a pair of 16-bit ones, the first in the low half.
template <typename T>
__device__ inline std::uint32_t pack(float low, float high) {
  std::uint32_t pair;
  if constexpr (same_type<T, F16>)
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  else
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}

/// f32 numbers as the sum of two bf16 ones, so that products with bf16 numbers are nearly those of f32.
struct SplitPair {
  std::uint32_t high;
  std::uint32_t low;
  __device__ SplitPair(float first, float second) : high(pack<Bf16>(first, second)) {
    low = pack<Bf16>(first - __uint_as_float(high << 16), second - __uint_as_float(high & 0xffff0000u));
  }
};

/// Four 8x8 matrices of 16-bit elements out of shared memory: lane 8 i + r gives the address of row r of
/// matrix i. Thread 4 g + t gets elements 2 t and 2 t + 1 of row g of each; transposed, of column g.
__device__ inline void load_matrices(std::uint32_t (&out)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(static_cast<std::uint32_t>(__cvta_generic_to_shared(row)))
               : "memory");
}
__device__ inline void load_matrices_transposed(std::uint32_t (&out)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(static_cast<std::uint32_t>(__cvta_generic_to_shared(row)))
               : "memory");
}

/// Starts a copy of 16 bytes to shared memory, of zeros when not `inside` (`from` is not read then).
__device__ inline void copy_async(void* to, const void* from, bool inside) {
  const int bytes = inside ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(
                   static_cast<std::uint32_t>(__cvta_generic_to_shared(to))),
               "l"(from), "r"(bytes)
               : "memory");
}
__device__ inline void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// Waits until at most `pending` groups of copies are under way.
template <int pending>
__device__ inline void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

/// 16 bytes that are read once. A kernel ahead may write them while this one waits for it: the load stays
/// behind the wait, and is none for memory that never changes.
__device__ inline uint4 load_once(const void* from) {
  uint4 x;
  asm volatile("ld.global.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(x.x), "=r"(x.y), "=r"(x.z), "=r"(x.w)
               : "l"(from));
  return x;
}

}  // namespace wick::cuda
