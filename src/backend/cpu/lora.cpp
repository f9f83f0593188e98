#include <algorithm>

#include "backend/cpu/float_convert.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/layer_products.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/weight_product.h"
#include "ops/attributes.h"

// What is added to a base product.
namespace wick {
namespace {

/// Fewer elements are converted before another thread has woken up.
constexpr std::int64_t converted_a_thread = 131072;

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

constexpr KernelEntry entries[] = {
    {.op = "lora_update", .prepare = prepare<UpdateKernel>, .supports = supports_update},
    {.op = "low_rank", .prepare = prepare<LowRankKernel>, .supports = supports_factors},
};

}  // namespace

namespace cpu_kernels {
Entries lora() { return entries; }
}  // namespace cpu_kernels

}  // namespace wick
