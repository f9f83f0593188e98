#include <algorithm>

#include "backend/cpu/float_convert.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/row_parallel.h"
#include "backend/cpu/weight_product.h"
#include "ops/attributes.h"
#include "wick/error.h"

namespace wick {
namespace {

std::int64_t padded(std::int64_t bytes) { return (bytes + 63) / 64 * 64; }

/// x [m, k] by a weight [n, k].
MatmulProblem product_of(std::int64_t m, std::int64_t n, std::int64_t k) {
  return {.m = m, .n = n, .k = k, .a = {k, 1}, .b = {1, k}, .batch = {}};
}

/// y = s (x A^T) B^T, or y += that: a thin product to the rank, scaled as it is written, and one from it.
/// Next to bf16 x the factors are read as bf16, as autocast does: their share of y is rounded no more than y
/// is.
class ThinProducts {
 public:
  ThinProducts(const KernelRequest& request, bool accumulate)
      : dtype_(request.output.dtype),
        factors_(request.inputs[request.inputs.size() - 1].dtype),
        n_(request.inputs[request.inputs.size() - 1].shape()[0]),
        rank_(request.inputs[request.inputs.size() - 1].shape()[1]),
        k_(request.inputs[0].shape().dim(-1)) {
    const std::int64_t m = request.inputs[0].shape().elements() / k_;
    const auto scale = static_cast<float>(request.attrs.as<LoraAttrs>().scale);
    down_ = DnnlMatmul::make(product_of(m, rank_, k_), dtype_, {.scale = scale});
    up_ = DnnlMatmul::make(product_of(m, n_, rank_), dtype_, {.accumulate = accumulate});
    if (!down_ || !up_) throw InternalError("oneDNN has no kernel for the products of an adapter");
    a_at_ = padded(m * rank_ * element());
    b_at_ = a_at_ + (converts() ? padded(rank_ * k_ * element()) : 0);
    product_at_ = b_at_ + (converts() ? padded(n_ * rank_ * element()) : 0);
  }

  std::size_t scratch_bytes() const {
    return static_cast<std::size_t>(product_at_) + std::max(down_->scratch_bytes(), up_->scratch_bytes());
  }

  void run(const void* x, const void* a, const void* b, void* y, void* scratch_memory) const {
    auto* scratch = static_cast<std::byte*>(scratch_memory);
    if (converts()) {
      convert(a, rank_ * k_, scratch + a_at_);
      convert(b, n_ * rank_, scratch + b_at_);
      a = scratch + a_at_;
      b = scratch + b_at_;
    }
    down_->run(x, a, nullptr, scratch, scratch + product_at_);
    up_->run(scratch, b, nullptr, y, scratch + product_at_);
  }

 private:
  std::int64_t element() const { return static_cast<std::int64_t>(size_of(dtype_)); }
  bool converts() const { return factors_ != dtype_; }
  void convert(const void* factor, std::int64_t count, std::byte* to) const {
    parallel_rows(count, 1, [&](std::int64_t begin, std::int64_t end) {
      narrow_row(dtype_, static_cast<const float*>(factor) + begin, to + begin * element(), end - begin);
    });
  }

  DType dtype_;
  DType factors_;
  std::int64_t n_;
  std::int64_t rank_;
  std::int64_t k_;
  std::unique_ptr<const DnnlMatmul> down_;
  std::unique_ptr<const DnnlMatmul> up_;
  std::int64_t a_at_;  // offsets in scratch memory, behind the projection
  std::int64_t b_at_;
  std::int64_t product_at_;
};

class LowRankKernel final : public Kernel {
 public:
  explicit LowRankKernel(const KernelRequest& request) : thin_(request, false) {}
  std::size_t scratch_bytes() const override { return thin_.scratch_bytes(); }
  void run(const void* const* inputs, void* output, void* scratch) const override {
    thin_.run(inputs[0], inputs[1], inputs[2], output, scratch);
  }

 private:
  ThinProducts thin_;
};

/// x W^T + bias, and then the thin products added to it.
class LoraLinearKernel final : public Kernel {
 public:
  explicit LoraLinearKernel(const KernelRequest& request)
      : has_bias_(request.attrs.as<LoraAttrs>().has_bias != 0),
        n_(request.inputs[1].shape()[0]),
        thin_(request, true) {
    const std::int64_t k = request.inputs[1].shape()[1];
    if (has_bias_) bias_ = request.inputs[2].dtype;
    base_ = WeightProduct::make(request, 1, product_of(request.inputs[0].shape().elements() / k, n_, k),
                                request.output.dtype,
                                {.bias = has_bias_ ? std::optional(DType::f32) : std::nullopt});
    if (!base_.product) throw InternalError("oneDNN has no kernel for the base of an adapter");
  }

  std::size_t scratch_bytes() const override {
    return static_cast<std::size_t>(bias_bytes()) +
           std::max(base_.product->scratch_bytes(), thin_.scratch_bytes());
  }

  void run(const void* const* inputs, void* output, void* scratch_memory) const override {
    auto* scratch = static_cast<std::byte*>(scratch_memory);
    const float* bias = nullptr;
    if (has_bias_ && bias_ == DType::f32) {
      bias = static_cast<const float*>(inputs[2]);
    } else if (has_bias_) {
      widen_row(bias_, inputs[2], reinterpret_cast<float*>(scratch), n_);
      bias = reinterpret_cast<const float*>(scratch);
    }
    const void* const* factors = inputs + (has_bias_ ? 3 : 2);
    base_.product->run(inputs[0], inputs[1], bias, output, scratch + bias_bytes());
    thin_.run(inputs[0], factors[0], factors[1], output, scratch + bias_bytes());
  }

  std::span<const Packing> packings() const override { return base_.packings; }
  void pack(const Packing&, const void* input, void* packed) const override {
    base_.product->pack(input, packed);
  }

 private:
  std::int64_t bias_bytes() const { return has_bias_ ? padded(n_ * 4) : 0; }

  bool has_bias_;
  DType bias_ = DType::f32;
  std::int64_t n_;
  WeightProduct base_;
  ThinProducts thin_;
};

bool supports_low_rank(const KernelRequest& request) {
  const DType dtype = request.output.dtype;
  const Slot& b = request.inputs[request.inputs.size() - 1];
  if (!DnnlMatmul::available(dtype) || (b.dtype != dtype && b.dtype != DType::f32)) return false;
  // One row is a product of matrices and vectors, which linear has the better kernels for.
  return request.output.shape().elements() > b.shape()[0] && request.inputs[0].shape().elements() > 0 &&
         b.shape().elements() > 0;
}

bool supports_lora_linear(const KernelRequest& request) {
  const bool has_bias = request.attrs.as<LoraAttrs>().has_bias != 0;
  return supports_low_rank(request) && request.inputs[1].dtype == request.output.dtype &&
         !(has_bias && request.inputs[2].dtype == DType::f64);
}

template <typename K>
std::unique_ptr<Kernel> prepare(const KernelRequest& request) {
  return std::make_unique<K>(request);
}

constexpr KernelEntry entries[] = {
    {.op = "lora_linear", .prepare = prepare<LoraLinearKernel>, .supports = supports_lora_linear},
    {.op = "low_rank", .prepare = prepare<LowRankKernel>, .supports = supports_low_rank},
};

}  // namespace

namespace cpu_kernels {
Entries lora_linear() { return entries; }
}  // namespace cpu_kernels

}  // namespace wick
