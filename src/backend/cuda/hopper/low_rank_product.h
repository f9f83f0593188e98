#pragma once

#include <cuda_runtime_api.h>

#include <array>
#include <cstdint>
#include <span>

namespace wick::cuda {

/// out [rows, columns] = the sum over members of x [rows, depth] weight^T + t [rows, rank] b^T, + bias, where
/// weight is [columns, depth] and b [columns, rank]; or `transposed`: weight [depth, columns] and b [rank,
/// columns], not to be transposed then. t is given, or scale x a^T with a [rank, depth] (`transposed`: scale
/// x a with a [depth, rank]), in all members or none. Row-major; x, weight, bias and out are bf16, t, a and b
/// f32. Rows of bf16 are multiples of 8 elements, addresses of 16 bytes.
struct LowRankProduct {
  static constexpr int most_members = 3;
  static constexpr std::int64_t most_rank = 64;  ///< of all members, each a multiple of 16
  struct Member {
    const void* x;
    const void* weight;
    const float* t;
    const float* b;
    std::int64_t depth;
    std::int64_t rank;  ///< 0: no factors
    const float* a;     ///< null: t is given; else of up to 16 ranks
    float scale;
    float* t_out;  ///< where t goes that is computed; null: nobody wants it
  };
  std::span<const Member> terms() const { return {members.data(), static_cast<std::size_t>(count)}; }

  /// What `ready` has room for.
  static std::int64_t row_groups(std::int64_t rows) { return (rows + 127) / 128 * 2; }

  std::array<Member, most_members> members;
  int count;
  const void* bias;  ///< [columns]; null: none
  void* out;
  std::int64_t rows, columns;
  bool transposed;
  /// Counts of `row_groups`: one tile of each row of tiles projects, and the others wait for it to read
  /// t_out, which all members have then. Null: every tile projects on its own.
  unsigned int* ready;
};

/// Ways to compute it in one kernel, which differ in the size of their tiles: so many are worth trying for
/// this product. None on GPUs that do not have the instructions.
int low_rank_product_ways(const LowRankProduct& product);
void launch_low_rank_product(const LowRankProduct& product, int way, cudaStream_t stream);

}  // namespace wick::cuda
