#include <algorithm>
#include <utility>
#include <vector>

#include "backend/cpu/highway_targets.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/parallel.h"
#include "ops/attributes.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/lora_gradient.cpp"
#include <hwy/foreach_target.h>

#include "backend/cpu/float_io-inl.h"

// Gradients of factors, x^T t of a wide x and a thin t: sums over rows. x is read as it is kept, by strips of
// its columns, each for all members that read it.

// Shared by the parts below, which Highway compiles once per target.
#ifndef WICK_LORA_GRADIENT
#define WICK_LORA_GRADIENT
namespace wick {

/// Columns of a strip: a cache line of 16-bit floats.
inline constexpr std::int64_t strip_columns = 32;

/// Of a strip of x, `columns` wide, its products with some columns of t. Rows lie x_row and t_row elements
/// apart. Element (column, j) of the result goes to out + column out_column + j out_thin.
struct StripSums {
  DType dtype;
  const void* x;
  std::int64_t x_row;
  std::int64_t columns;
  const float* t;
  std::int64_t t_row;
  std::int64_t thin;
  std::int64_t rows;
  float* out;
  std::int64_t out_column;
  std::int64_t out_thin;
};

}  // namespace wick
#endif

HWY_BEFORE_NAMESPACE();
namespace wick::HWY_NAMESPACE {

/// Rows whose sums are added up before they are added to those of others: so many additions one after the
/// other, at most.
constexpr std::int64_t most_rows = 256;
/// Rows ahead of which a strip is asked for: it is one line of each.
constexpr std::int64_t ahead = 16;
constexpr std::int64_t strip_vectors = 2;

/// Adds the sums over some rows of `strip_vectors` vectors of columns to `sums` [Thin, strip_columns].
template <std::int64_t Thin, bool Whole, typename T>
HWY_INLINE void add_rows(const StripSums& job, const T* x, std::int64_t columns, const float* t,
                         std::int64_t rows, float* sums) {
  FloatVec sum[Thin][strip_vectors];
  for (std::int64_t j = 0; j < Thin; ++j)
    for (std::int64_t v = 0; v < strip_vectors; ++v) sum[j][v] = hn::Zero(f32_tag);
  for (std::int64_t i = 0; i < rows; ++i, x += job.x_row, t += job.t_row) {
    __builtin_prefetch(x + ahead * job.x_row);
    FloatVec of_x[strip_vectors];
    for (std::int64_t v = 0; v < strip_vectors; ++v) {
      const std::int64_t left = columns - v * lanes;
      of_x[v] = Whole ? load(x + v * lanes) : left > 0 ? load_some(x + v * lanes, left) : hn::Zero(f32_tag);
    }
    for (std::int64_t j = 0; j < Thin; ++j) {
      const FloatVec factor = hn::Set(f32_tag, t[j]);
      for (std::int64_t v = 0; v < strip_vectors; ++v) sum[j][v] = hn::MulAdd(of_x[v], factor, sum[j][v]);
    }
  }
  for (std::int64_t j = 0; j < Thin; ++j)
    for (std::int64_t v = 0; v < strip_vectors; ++v) {
      float* to = sums + j * strip_columns + v * lanes;
      store(hn::Add(load(to), sum[j][v]), to);
    }
}

template <std::int64_t Thin, typename T>
void sum_strip(const StripSums& job) {
  float sums[Thin * strip_columns] = {};
  const T* x = static_cast<const T*>(job.x);
  constexpr std::int64_t width = strip_vectors * lanes;
  for (std::int64_t first = 0; first < job.rows; first += most_rows) {
    const std::int64_t rows = std::min(most_rows, job.rows - first);
    const T* from = x + first * job.x_row;
    const float* t = job.t + first * job.t_row;
    for (std::int64_t c = 0; c < job.columns; c += width) {
      if (job.columns - c >= width)
        add_rows<Thin, true>(job, from + c, width, t, rows, sums + c);
      else
        add_rows<Thin, false>(job, from + c, job.columns - c, t, rows, sums + c);
    }
  }
  for (std::int64_t j = 0; j < Thin; ++j)
    for (std::int64_t c = 0; c < job.columns; ++c)
      job.out[c * job.out_column + j * job.out_thin] = sums[j * strip_columns + c];
}

/// As many columns of t at a time as there is room for their sums in registers.
template <std::int64_t Thin, typename T>
void sum_columns(StripSums& job) {
  for (; job.thin >= Thin; job.thin -= Thin, job.t += Thin, job.out += Thin * job.out_thin)
    sum_strip<Thin, T>(job);
}

template <typename T>
void sum_all_columns(StripSums job) {
  sum_columns<8, T>(job);
  sum_columns<4, T>(job);
  sum_columns<1, T>(job);
}

void SumStrip(const StripSums& job) {
  if (job.dtype == DType::bf16)
    sum_all_columns<bfloat16>(job);
  else
    sum_all_columns<float>(job);
}

}  // namespace wick::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wick {
namespace {

HWY_EXPORT(SumStrip);

/// Worth waking a thread.
constexpr double flops_a_thread = 2e6;

/// One or several of as many rows and one rank: inputs x [..., columns] and t [..., rank] of each.
class GradientKernel final : public Kernel {
 public:
  explicit GradientKernel(const KernelRequest& request)
      : rank_(request.inputs[1].shape().dim(-1)), rows_(request.inputs[1].shape().elements() / rank_) {
    const auto attrs = request.attrs.as<LoraGradientAttrs>();
    for (std::size_t m = 0; 2 * m < request.inputs.size(); ++m) {
      const Slot& x = request.inputs[2 * m];
      members_.push_back({x.dtype, x.shape().dim(-1), attrs.is_transposed(m), x.value});
      for (std::int64_t first = 0; first < x.shape().dim(-1); first += strip_columns)
        strips_.push_back({m, first});
    }
    // A strip of one x for all that read it, one after the other.
    std::stable_sort(strips_.begin(), strips_.end(), [&](const Strip& a, const Strip& b) {
      return std::pair(members_[a.member].x, a.first) < std::pair(members_[b.member].x, b.first);
    });
  }

  void run(const void* const* inputs, void* output, void* scratch) const override {
    void* const outputs[1] = {output};
    run_results(inputs, outputs, scratch);
  }

  void run_results(const void* const* inputs, void* const* outputs, void*) const override {
    const double flops = 2.0 * static_cast<double>(rows_ * rank_ * strip_columns);
    parallel_for(static_cast<std::int64_t>(strips_.size()), static_cast<std::int64_t>(flops_a_thread / flops),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t s = begin; s < end; ++s) {
                     const Strip& strip = strips_[static_cast<std::size_t>(s)];
                     run_strip(strip, inputs[2 * strip.member], inputs[2 * strip.member + 1],
                               static_cast<float*>(outputs[strip.member]));
                   }
                 });
  }

 private:
  struct Member {
    DType dtype;
    std::int64_t columns;
    bool transposed;
    std::uint32_t x;
  };
  struct Strip {
    std::size_t member;
    std::int64_t first;
  };

  void run_strip(const Strip& strip, const void* x, const void* t, float* output) const {
    const Member& m = members_[strip.member];
    const std::int64_t out_column = m.transposed ? 1 : rank_;
    HWY_DYNAMIC_DISPATCH(SumStrip)
    ({.dtype = m.dtype,
      .x = static_cast<const std::byte*>(x) + strip.first * static_cast<std::int64_t>(size_of(m.dtype)),
      .x_row = m.columns,
      .columns = std::min(strip_columns, m.columns - strip.first),
      .t = static_cast<const float*>(t),
      .t_row = rank_,
      .thin = rank_,
      .rows = rows_,
      .out = output + strip.first * out_column,
      .out_column = out_column,
      .out_thin = m.transposed ? m.columns : 1});
  }

  std::int64_t rank_;
  std::int64_t rows_;
  std::vector<Member> members_;
  std::vector<Strip> strips_;
};

bool supports(const KernelRequest& request) {
  const auto fits = [](const Slot& slot) { return slot.shape().elements() > 0; };
  bool right = std::all_of(request.inputs.begin(), request.inputs.end(), fits);
  for (std::size_t i = 0; i < request.inputs.size(); i += 2) {
    const DType x = request.inputs[i].dtype;
    right = right && (x == DType::f32 || x == DType::bf16) && request.inputs[i + 1].dtype == DType::f32;
  }
  return right;
}

std::unique_ptr<Kernel> prepare(const KernelRequest& request) {
  return std::make_unique<GradientKernel>(request);
}

constexpr KernelEntry entries[] = {
    {.op = "lora_gradient", .prepare = prepare, .supports = supports},
    {.op = "lora_gradients", .prepare = prepare, .supports = supports},
};

}  // namespace

namespace cpu_kernels {
Entries lora_gradient() { return entries; }
}  // namespace cpu_kernels

}  // namespace wick
#endif
