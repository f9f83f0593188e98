#include <algorithm>
#include <array>

#include "backend/cpu/float_convert.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/layer_products.h"
#include "backend/cpu/row_parallel.h"
#include "ops/attributes.h"

// Projections onto factors of adapters, scale x a^T, of one layer or of several that read one x.
namespace wick {
namespace {

/// Fewer elements are split before another thread has woken up.
constexpr std::int64_t split_a_thread = 131072;
/// Fewer rows, or sums over fewer products, take longer to pack for than packing saves.
constexpr std::int64_t fewest_rows_packed = 128;
constexpr std::int64_t shortest_packed = 256;

/// One, inputs x and a of one dtype.
class ProjectionKernel final : public Kernel {
 public:
  explicit ProjectionKernel(const KernelRequest& request) {
    const auto options = request.attrs.as<LoraProjectionAttrs>();
    product_ = require_product(
        MatrixProduct::make(product_of(rows_of(request), request.output.shape().dim(-1),
                                       request.inputs[0].shape().dim(-1), options.transposed != 0),
                            request.output.dtype, {.scale = static_cast<float>(options.scale)}));
  }
  std::size_t scratch_bytes() const override { return product_->scratch_bytes(); }
  void run(const void* const* inputs, void* output, void* scratch) const override {
    product_->run(inputs[0], inputs[1], nullptr, output, scratch);
  }

 private:
  std::unique_ptr<const MatrixProduct> product_;
};

/// One or several, as one product with their factors side by side, so that x is read once. Next to bf16 x,
/// factors in f32 are not rounded, because the adapter's gradients are sums of many of these, but split,
/// a = high + low, and both halves are multiplied: a product that is as thin is hardly dearer.
class StackedProjections final : public Kernel {
 public:
  explicit StackedProjections(const KernelRequest& request)
      : members_(static_cast<std::int64_t>(request.inputs.size() / 2)),
        dtype_(request.inputs[0].dtype),
        split_(request.inputs[1].dtype != dtype_),
        transposed_(request.attrs.as<LoraProjectionAttrs>().transposed != 0),
        rows_(rows_of(request)),
        rank_(request.output.shape().dim(-1)),
        k_(request.inputs[0].shape().dim(-1)),
        packed_(split_ && rows_ >= fewest_rows_packed && k_ >= shortest_packed),
        element_(static_cast<std::int64_t>(size_of(request.output.dtype))) {
    const auto scale = static_cast<float>(request.attrs.as<LoraProjectionAttrs>().scale);
    product_ =
        require_product(MatrixProduct::make(product_of(rows_, columns(), k_, transposed_), dtype_,
                                            {.c = request.output.dtype, .scale = scale, .packed = packed_}));
    packed_at_ = padded(columns() * k_ * static_cast<std::int64_t>(size_of(dtype_)));
    sums_at_ = packed_at_ + (packed_ ? padded(static_cast<std::int64_t>(product_->packed_bytes())) : 0);
    product_at_ = sums_at_ + padded(columns() * rows_ * element_);
  }

  std::size_t scratch_bytes() const override {
    return static_cast<std::size_t>(product_at_) + product_->scratch_bytes();
  }

  void run(const void* const* inputs, void* output, void* scratch) const override {
    void* const outputs[1] = {output};
    run_results(inputs, outputs, scratch);
  }

  void run_results(const void* const* inputs, void* const* outputs, void* scratch_memory) const override {
    auto* scratch = static_cast<std::byte*>(scratch_memory);
    std::byte* sums = scratch + sums_at_;
    for (std::int64_t m = 0; m < members_; ++m) {
      const void* factor = inputs[2 * m + 1];
      if (split_)
        split(static_cast<const float*>(factor), reinterpret_cast<bfloat16*>(scratch), m);
      else
        place(factor, scratch, m);
    }
    const std::byte* stacked = scratch;
    if (packed_) {
      product_->pack(scratch, scratch + packed_at_);
      stacked += packed_at_;
    }
    product_->run(inputs[0], stacked, nullptr, sums, scratch + product_at_);
    parallel_rows(rows_, columns(), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t m = 0; m < members_; ++m) write(sums, m, begin, end, outputs[m]);
    });
  }

 private:
  /// Of the product: those of each member, and where factors are split, those of all lower halves behind.
  std::int64_t columns() const { return members_ * rank_ * (split_ ? 2 : 1); }
  /// Where a factor lies among the others: as many lines, of such a length, so far apart.
  std::int64_t lines() const { return transposed_ ? k_ : rank_; }
  std::int64_t length() const { return transposed_ ? rank_ : k_; }
  std::int64_t step() const { return transposed_ ? columns() : k_; }
  std::int64_t offset(std::int64_t member) const { return member * rank_ * (transposed_ ? 1 : k_); }

  void place(const void* factor, std::byte* stacked, std::int64_t member) const {
    const auto element = static_cast<std::int64_t>(size_of(dtype_));
    for (std::int64_t line = 0; line < lines(); ++line)
      std::copy_n(static_cast<const std::byte*>(factor) + line * length() * element, length() * element,
                  stacked + (offset(member) + line * step()) * element);
  }

  void split(const float* factor, bfloat16* stacked, std::int64_t member) const {
    constexpr std::int64_t most = 256;
    const std::int64_t to_low = offset(members_);
    const std::int64_t together = std::max<std::int64_t>(1, most / length());  // short lines
    parallel_for(lines(), split_a_thread / length(), [&](std::int64_t begin, std::int64_t end) {
      std::array<float, most> wide;
      std::array<bfloat16, most> high;
      std::array<bfloat16, most> low;
      for (std::int64_t line = begin; line < end; line += together)
        for (std::int64_t i = 0; i < length(); i += most) {
          const std::int64_t count = std::min(together, end - line);
          const std::int64_t width = std::min(most, length() - i);
          const float* from = factor + line * length() + i;
          narrow_row(DType::bf16, from, high.data(), count * width);
          widen_row(DType::bf16, high.data(), wide.data(), count * width);
          for (std::int64_t j = 0; j < count * width; ++j) wide[j] = from[j] - wide[j];
          narrow_row(DType::bf16, wide.data(), low.data(), count * width);
          bfloat16* to = stacked + offset(member) + line * step() + i;
          for (std::int64_t l = 0; l < count; ++l, to += step()) {
            std::copy_n(high.data() + l * width, width, to);
            std::copy_n(low.data() + l * width, width, to + to_low);
          }
        }
    });
  }

  /// Rows [begin, end) of a member's result.
  void write(const std::byte* sums, std::int64_t member, std::int64_t begin, std::int64_t end,
             void* output) const {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::byte* from = sums + (i * columns() + member * rank_) * element_;
      std::byte* to = static_cast<std::byte*>(output) + i * rank_ * element_;
      if (split_)
        add(reinterpret_cast<const float*>(from), reinterpret_cast<float*>(to));
      else
        std::copy_n(from, rank_ * element_, to);
    }
  }
  void add(const float* halves, float* to) const {
    for (std::int64_t j = 0; j < rank_; ++j) to[j] = halves[j] + halves[members_ * rank_ + j];
  }

  std::int64_t members_;
  DType dtype_;
  bool split_;
  bool transposed_;
  std::int64_t rows_;
  std::int64_t rank_;
  std::int64_t k_;
  bool packed_;
  std::int64_t element_;  // of the result
  std::unique_ptr<const MatrixProduct> product_;
  std::int64_t packed_at_;
  std::int64_t sums_at_;
  std::int64_t product_at_;
};

bool supports_projection(const KernelRequest& request) {
  return supports_products(request, request.inputs.subspan(1));
}

/// Of one x: others have nothing to share.
bool supports_projections(const KernelRequest& request) {
  for (std::size_t m = 0; m < request.inputs.size(); m += 2) {
    if (request.inputs[m].value != request.inputs[0].value) return false;
    if (request.inputs[m + 1].dtype != request.inputs[1].dtype) return false;
    if (!supports_products(request, request.inputs.subspan(m + 1, 1))) return false;
  }
  return true;
}

std::unique_ptr<Kernel> prepare_projection(const KernelRequest& request) {
  if (request.inputs[0].dtype == request.inputs[1].dtype) return std::make_unique<ProjectionKernel>(request);
  return std::make_unique<StackedProjections>(request);
}

constexpr KernelEntry entries[] = {
    {.op = "lora_projection", .prepare = prepare_projection, .supports = supports_projection},
    {.op = "lora_projections",
     .prepare = [](const KernelRequest& request) -> std::unique_ptr<Kernel> {
       return std::make_unique<StackedProjections>(request);
     },
     .supports = supports_projections},
};

}  // namespace

namespace cpu_kernels {
Entries lora_projection() { return entries; }
}  // namespace cpu_kernels

}  // namespace wick
