#include <algorithm>

#include "backend/cpu/float_convert.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/row_parallel.h"
#include "backend/cpu/weight_product.h"
#include "ops/attributes.h"
#include "wick/error.h"

// The parts of lora_linear and of its gradient.
namespace wick {
namespace {

/// Fewer elements are converted before another thread has woken up.
constexpr std::int64_t converted_a_thread = 131072;

std::int64_t padded(std::int64_t bytes) { return (bytes + 63) / 64 * 64; }

/// x [m, k] by a weight [n, k], or [k, n] when `transposed`.
MatmulProblem product_of(std::int64_t m, std::int64_t n, std::int64_t k, bool transposed) {
  const MatrixStrides weight = transposed ? MatrixStrides{n, 1} : MatrixStrides{1, k};
  return {.m = m, .n = n, .k = k, .a = {k, 1}, .b = weight, .batch = {}};
}

std::unique_ptr<const MatrixProduct> require_product(std::unique_ptr<const MatrixProduct> product) {
  if (!product) throw InternalError("no kernel for a product of an adapter");
  return product;
}

/// A contiguous operand of a product in x's dtype. Next to bf16 x, what the adapter has in f32 is rounded, as
/// autocast does: its share of the result is rounded no more than the result is.
class Operand {
 public:
  Operand(const Slot& slot, DType dtype) : from_(slot.dtype), to_(dtype), count_(slot.shape().elements()) {}
  std::int64_t scratch_bytes() const {
    return from_ == to_ ? 0 : padded(count_ * static_cast<std::int64_t>(size_of(to_)));
  }
  const void* read(const void* data, std::byte* scratch) const {
    if (from_ == to_) return data;
    parallel_for(count_, converted_a_thread, [&](std::int64_t begin, std::int64_t end) {
      narrow_row(to_, static_cast<const float*>(data) + begin,
                 scratch + begin * static_cast<std::int64_t>(size_of(to_)), end - begin);
    });
    return scratch;
  }

 private:
  DType from_;
  DType to_;
  std::int64_t count_;
};

std::int64_t rows_of(const KernelRequest& request) {
  return request.output.shape().elements() / request.output.shape().dim(-1);
}

/// scale x a^T, inputs x and a of one dtype.
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

/// scale x a^T, x bf16 and a f32: the adapter's gradients are sums of many of these, so that a is not rounded
/// but split, a = high + low, and both halves are multiplied in one product, which is hardly dearer than one
/// of them.
class SplitProjectionKernel final : public Kernel {
 public:
  explicit SplitProjectionKernel(const KernelRequest& request)
      : transposed_(request.attrs.as<LoraProjectionAttrs>().transposed != 0),
        rows_(rows_of(request)),
        rank_(request.output.shape().dim(-1)),
        k_(request.inputs[0].shape().dim(-1)) {
    const auto scale = static_cast<float>(request.attrs.as<LoraProjectionAttrs>().scale);
    product_ = require_product(MatrixProduct::make(product_of(rows_, 2 * rank_, k_, transposed_), DType::bf16,
                                                   {.c = DType::f32, .scale = scale}));
    sums_at_ = padded(2 * rank_ * k_ * static_cast<std::int64_t>(sizeof(bfloat16)));
    product_at_ = sums_at_ + padded(2 * rank_ * rows_ * static_cast<std::int64_t>(sizeof(float)));
  }
  std::size_t scratch_bytes() const override {
    return static_cast<std::size_t>(product_at_) + product_->scratch_bytes();
  }
  void run(const void* const* inputs, void* output, void* scratch_memory) const override {
    auto* scratch = static_cast<std::byte*>(scratch_memory);
    auto* sums = reinterpret_cast<float*>(scratch + sums_at_);
    split(static_cast<const float*>(inputs[1]), reinterpret_cast<bfloat16*>(scratch));
    product_->run(inputs[0], scratch, nullptr, sums, scratch + product_at_);
    auto* out = static_cast<float*>(output);
    parallel_rows(rows_, rank_, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i)
        for (std::int64_t j = 0; j < rank_; ++j)
          out[i * rank_ + j] = sums[i * 2 * rank_ + j] + sums[i * 2 * rank_ + rank_ + j];
    });
  }

 private:
  /// `a` twice as high, or twice as wide where it is transposed.
  void split(const float* a, bfloat16* halves) const {
    const std::int64_t lines = transposed_ ? k_ : rank_;
    const std::int64_t length = transposed_ ? rank_ : k_;
    const std::int64_t step = transposed_ ? 2 * rank_ : k_;
    const std::int64_t to_low = transposed_ ? rank_ : rank_ * k_;
    parallel_for(lines, converted_a_thread / length, [&](std::int64_t begin, std::int64_t end) {
      constexpr std::int64_t most = 256;
      float wide[most];
      for (std::int64_t line = begin; line < end; ++line)
        for (std::int64_t i = 0; i < length; i += most) {
          const std::int64_t n = std::min(most, length - i);
          const float* from = a + line * length + i;
          bfloat16* high = halves + line * step + i;
          narrow_row(DType::bf16, from, high, n);
          widen_row(DType::bf16, high, wide, n);
          for (std::int64_t j = 0; j < n; ++j) wide[j] = from[j] - wide[j];
          narrow_row(DType::bf16, wide, high + to_low, n);
        }
    });
  }

  bool transposed_;
  std::int64_t rows_;
  std::int64_t rank_;
  std::int64_t k_;
  std::unique_ptr<const MatrixProduct> product_;
  std::int64_t sums_at_;
  std::int64_t product_at_;
};

/// x weight^T + bias, and then t b^T added to it. Inputs x, weight, [bias,] t, b.
class UpdateKernel final : public Kernel {
 public:
  explicit UpdateKernel(const KernelRequest& request)
      : dtype_(request.output.dtype),
        t_(request.inputs[request.inputs.size() - 2], dtype_),
        b_(request.inputs[request.inputs.size() - 1], dtype_),
        n_(request.output.shape().dim(-1)) {
    const auto options = request.attrs.as<LoraUpdateAttrs>();
    const bool transposed = options.transposed != 0;
    if (options.has_bias != 0) bias_ = request.inputs[2].dtype;
    const std::int64_t m = rows_of(request);
    base_ = WeightProduct::make(request, 1, product_of(m, n_, request.inputs[0].shape().dim(-1), transposed),
                                dtype_, {.bias = bias_ ? std::optional(DType::f32) : std::nullopt});
    base_.product = require_product(std::move(base_.product));
    const std::int64_t rank = request.inputs[request.inputs.size() - 2].shape().dim(-1);
    up_ = require_product(
        MatrixProduct::make(product_of(m, n_, rank, transposed), dtype_, {.accumulate = true}));
  }

  std::size_t scratch_bytes() const override {
    return static_cast<std::size_t>(bias_bytes() + t_.scratch_bytes() + b_.scratch_bytes()) +
           std::max(base_.product->scratch_bytes(), up_->scratch_bytes());
  }

  void run(const void* const* inputs, void* output, void* scratch_memory) const override {
    auto* at = static_cast<std::byte*>(scratch_memory);
    const float* bias = nullptr;
    const void* const* added = inputs + 2;
    if (bias_) {
      bias = wide_bias(inputs[2], reinterpret_cast<float*>(at));
      ++added;
    }
    at += bias_bytes();
    const void* t = t_.read(added[0], at);
    at += t_.scratch_bytes();
    const void* b = b_.read(added[1], at);
    at += b_.scratch_bytes();
    base_.product->run(inputs[0], inputs[1], bias, output, at);
    up_->run(t, b, nullptr, output, at);
  }

  std::span<const Packing> packings() const override { return base_.packings; }
  void pack(const Packing&, const void* input, void* packed) const override {
    base_.product->pack(input, packed);
  }

 private:
  std::int64_t bias_bytes() const {
    return bias_ ? padded(n_ * static_cast<std::int64_t>(sizeof(float))) : 0;
  }
  const float* wide_bias(const void* bias, float* scratch) const {
    if (*bias_ == DType::f32) return static_cast<const float*>(bias);
    widen_row(*bias_, bias, scratch, n_);
    return scratch;
  }

  DType dtype_;
  Operand t_;
  Operand b_;
  std::int64_t n_;
  std::optional<DType> bias_;
  WeightProduct base_;
  std::unique_ptr<const MatrixProduct> up_;
};

/// scale (x a^T) b^T. Inputs x, a, b.
class LowRankKernel final : public Kernel {
 public:
  explicit LowRankKernel(const KernelRequest& request)
      : a_(request.inputs[1], request.output.dtype), b_(request.inputs[2], request.output.dtype) {
    const DType dtype = request.output.dtype;
    const std::int64_t m = rows_of(request);
    const std::int64_t rank = request.inputs[1].shape()[0];
    const auto scale = static_cast<float>(request.attrs.as<LoraAttrs>().scale);
    down_ = require_product(MatrixProduct::make(product_of(m, rank, request.inputs[1].shape()[1], false),
                                                dtype, {.scale = scale}));
    up_ =
        require_product(MatrixProduct::make(product_of(m, request.inputs[2].shape()[0], rank, false), dtype));
    projection_bytes_ = padded(m * rank * static_cast<std::int64_t>(size_of(dtype)));
  }
  std::size_t scratch_bytes() const override {
    return static_cast<std::size_t>(projection_bytes_ + a_.scratch_bytes() + b_.scratch_bytes()) +
           std::max(down_->scratch_bytes(), up_->scratch_bytes());
  }
  void run(const void* const* inputs, void* output, void* scratch_memory) const override {
    auto* projection = static_cast<std::byte*>(scratch_memory);
    std::byte* at = projection + projection_bytes_;
    const void* a = a_.read(inputs[1], at);
    at += a_.scratch_bytes();
    const void* b = b_.read(inputs[2], at);
    at += b_.scratch_bytes();
    down_->run(inputs[0], a, nullptr, projection, at);
    up_->run(projection, b, nullptr, output, at);
  }

 private:
  Operand a_;
  Operand b_;
  std::unique_ptr<const MatrixProduct> down_;
  std::unique_ptr<const MatrixProduct> up_;
  std::int64_t projection_bytes_;
};

/// Whether there is something to multiply in more than one row (linear has the better kernels for one), and
/// the adapter's dtypes are x's or f32.
bool supports_products(const KernelRequest& request, std::span<const Slot> of_adapter) {
  const DType dtype = request.inputs[0].dtype;
  const auto fits = [&](const Slot& slot) {
    return (slot.dtype == dtype || slot.dtype == DType::f32) && slot.shape().elements() > 0;
  };
  return DnnlMatmul::available(dtype) && request.inputs[0].shape().elements() > 0 &&
         std::all_of(of_adapter.begin(), of_adapter.end(), fits) &&
         request.output.shape().elements() > request.output.shape().dim(-1);
}

bool supports_factors(const KernelRequest& request) {
  return supports_products(request, request.inputs.subspan(1));
}

bool supports_update(const KernelRequest& request) {
  const bool has_bias = request.attrs.as<LoraUpdateAttrs>().has_bias != 0;
  return request.inputs[1].dtype == request.output.dtype &&
         !(has_bias && request.inputs[2].dtype == DType::f64) &&
         supports_products(request, request.inputs.subspan(request.inputs.size() - 2));
}

template <typename K>
std::unique_ptr<Kernel> prepare(const KernelRequest& request) {
  return std::make_unique<K>(request);
}

std::unique_ptr<Kernel> prepare_projection(const KernelRequest& request) {
  if (request.inputs[0].dtype == request.inputs[1].dtype) return std::make_unique<ProjectionKernel>(request);
  return std::make_unique<SplitProjectionKernel>(request);
}

constexpr KernelEntry entries[] = {
    {.op = "lora_projection", .prepare = prepare_projection, .supports = supports_factors},
    {.op = "lora_update", .prepare = prepare<UpdateKernel>, .supports = supports_update},
    {.op = "low_rank", .prepare = prepare<LowRankKernel>, .supports = supports_factors},
};

}  // namespace

namespace cpu_kernels {
Entries lora() { return entries; }
}  // namespace cpu_kernels

}  // namespace wick
