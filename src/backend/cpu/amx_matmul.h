#pragma once

#include <span>
#include <vector>

#include "backend/cpu/amx.h"
#include "backend/cpu/amx_panels.h"
#include "backend/cpu/elementwise_tiles.h"
#include "backend/cpu/matrix_product.h"

namespace wick {

/// A product of bf16 matrices on AMX, without a batch. Sums are in f32 and in an order that does not depend
/// on the number of threads. c's columns are computed in panels of `amx_step`; k in chunks, whose share of a
/// panel stays in the first-level cache while rows of a go by, and groups of chunks, whose share of a stays
/// in the second-level cache while panels go by.
class AmxMatmul final : public MatrixProduct {
 public:
  /// Nothing where there is no AMX, for problems of other kinds, and for those too small to pay.
  static std::unique_ptr<const MatrixProduct> make(const MatmulProblem& problem, DType dtype,
                                                   const ProductOptions& options);

  std::size_t scratch_bytes() const noexcept override;
  void run_combined(const void* a, const void* b, const void* bias, const void* combined, void* c,
                    void* scratch) const override;
  std::size_t packed_bytes() const noexcept override;
  std::string format() const override;
  void pack(const void* b, void* packed) const override;

 private:
  friend class AmxSiblings;

  struct Range {
    std::int64_t begin;
    std::int64_t end;
    std::int64_t size() const { return end - begin; }
  };
  /// What a thread computes with.
  struct Call {
    const AmxTiles* tiles;
    const bfloat16* a;  // in place, or copied chunk by chunk
    const bfloat16* b;
    const float* bias;
    const std::byte* combined;
    void* c;
    float* sums;      // [panels of a block, rows of a block, amx_step]
    bfloat16* panel;  // [chunk / 2, amx_step, 2]
  };

  AmxMatmul(const MatmulProblem& problem, const ProductOptions& options);
  std::int64_t copied_floats() const { return reads_a_in_place_ ? 0 : m_ * k_ / 2; }
  std::int64_t sum_floats() const;
  std::int64_t thread_floats() const { return sum_floats() + chunk_ * amx_step / 2; }
  std::int64_t chunk_at(std::int64_t first) const { return std::min(chunk_, k_ - first); }
  void copy_a(const bfloat16* a, bfloat16* to) const;
  void run_parts(const Call& call, std::int64_t thread) const;
  void run_block(const Call& call, Range panels, Range rows) const;
  void add_panel(const Call& call, std::int64_t panel, Range group, Range rows, float* sums) const;
  AmxPrefetch next_of_b(const Call& call, std::int64_t panel, std::int64_t first) const;
  AmxPrefetch lines_of_c(const Call& call, std::int64_t panel, Range rows) const;
  std::int64_t c_offset(std::int64_t panel, std::int64_t row) const {
    return (row * c_row_ + panel * amx_step) * c_element_;
  }
  std::byte* c_at(const Call& call, std::int64_t panel, std::int64_t row) const {
    return static_cast<std::byte*>(call.c) + c_offset(panel, row);
  }
  void finish(const Call& call, std::int64_t panel, Range rows, float* sums) const;
  void activate(const float* bias, std::int64_t rows, std::int64_t columns, float* sums) const;
  void pack_chunk(const bfloat16* b, std::int64_t panel, std::int64_t first, bfloat16* to) const;
  std::int64_t packed_at(std::int64_t panel, std::int64_t first) const {
    return (panel * k_ + first) * amx_step;
  }

  MatmulProblem problem_;
  ProductOptions options_;
  AmxFinish finish_;
  TileFunction activation_;  // null without one
  std::int64_t c_row_;
  std::int64_t c_element_;
  std::int64_t m_;  // rows and k, up to whole tiles
  std::int64_t k_;
  std::int64_t panels_;
  std::int64_t chunk_;
  std::int64_t group_;
  std::int64_t block_;  // of rows
  bool reads_a_in_place_;
  std::int64_t threads_;
};

/// Products of one a in one parallel region: a is copied once for all, if at all, and threads share the
/// panels of all. Sums are those of each product alone.
class AmxSiblings {
 public:
  struct Operands {
    const void* b;
    const float* bias;  ///< null without one
    void* c;
  };
  /// Of products that outlive it, of as many rows of a each; nothing where one is computed otherwise.
  static std::unique_ptr<const AmxSiblings> make(std::span<const MatrixProduct* const> products);

  std::size_t scratch_bytes() const noexcept;
  /// `operands` in the order of the products.
  void run(const void* a, std::span<const Operands> operands, void* scratch) const;

 private:
  explicit AmxSiblings(std::vector<const AmxMatmul*> products);

  std::vector<const AmxMatmul*> products_;
  std::int64_t panels_ = 0;  // of all
  std::int64_t threads_;
  std::int64_t sum_floats_ = 0;
  std::int64_t thread_floats_ = 0;
};

}  // namespace wick
