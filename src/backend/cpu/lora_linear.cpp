#include <algorithm>

#include "backend/cpu/float_convert.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/row_parallel.h"
#include "backend/cpu/weight_product.h"
#include "ops/attributes.h"
#include "wick/error.h"

namespace wick {
namespace {

/// y = x W^T + bias + (s x A^T) B^T in three products: the base's, the thin one to the rank, and a thin one
/// that adds to y. Next to bf16 x the adapter is read as bf16, as autocast does: its share of y is rounded no
/// more than y is.
class LoraLinearKernel final : public Kernel {
 public:
  explicit LoraLinearKernel(const KernelRequest& request)
      : has_bias_(request.attrs.as<LoraAttrs>().has_bias != 0),
        dtype_(request.output.dtype),
        adapter_(request.inputs[request.inputs.size() - 1].dtype),
        n_(request.inputs[1].shape()[0]),
        k_(request.inputs[1].shape()[1]),
        rank_(request.inputs[request.inputs.size() - 1].shape()[1]) {
    const std::int64_t m = request.inputs[0].shape().elements() / k_;
    if (has_bias_) bias_ = request.inputs[2].dtype;
    const auto problem = [&](std::int64_t n, std::int64_t k) {
      return MatmulProblem{.m = m, .n = n, .k = k, .a = {k, 1}, .b = {1, k}, .batch = {}};
    };
    const auto scale = static_cast<float>(request.attrs.as<LoraAttrs>().scale);
    base_ = WeightProduct::make(request, 1, problem(n_, k_), dtype_,
                                {.bias = has_bias_ ? std::optional(DType::f32) : std::nullopt});
    down_ = DnnlMatmul::make(problem(rank_, k_), dtype_, {.scale = scale});
    up_ = DnnlMatmul::make(problem(n_, rank_), dtype_, {.accumulate = true});
    if (!base_.product || !down_ || !up_) throw InternalError("lora_linear: oneDNN has no kernel for it");
    const auto element = static_cast<std::int64_t>(size_of(dtype_));
    projected_at_ = bias_at_ + (has_bias_ ? padded(n_ * 4) : 0);
    a_at_ = projected_at_ + padded(m * rank_ * element);
    b_at_ = a_at_ + (converts() ? padded(rank_ * k_ * element) : 0);
    product_at_ = b_at_ + (converts() ? padded(n_ * rank_ * element) : 0);
  }

  std::size_t scratch_bytes() const override {
    return static_cast<std::size_t>(product_at_) +
           std::max({base_.product->scratch_bytes(), down_->scratch_bytes(), up_->scratch_bytes()});
  }

  void run(const void* const* inputs, void* output, void* scratch_memory) const override {
    auto* scratch = static_cast<std::byte*>(scratch_memory);
    void* product_scratch = scratch + product_at_;
    const std::size_t at_a = has_bias_ ? 3 : 2;
    const void* a = converted(inputs[at_a], rank_, k_, scratch + a_at_);
    const void* b = converted(inputs[at_a + 1], n_, rank_, scratch + b_at_);
    void* projected = scratch + projected_at_;
    base_.product->run(inputs[0], inputs[1], wide_bias(inputs, scratch), output, product_scratch);
    down_->run(inputs[0], a, nullptr, projected, product_scratch);
    up_->run(projected, b, nullptr, output, product_scratch);
  }

  std::span<const Packing> packings() const override { return base_.packings; }
  void pack(const Packing&, const void* input, void* packed) const override {
    base_.product->pack(input, packed);
  }

 private:
  static constexpr std::int64_t bias_at_ = 0;
  static std::int64_t padded(std::int64_t bytes) { return (bytes + 63) / 64 * 64; }
  bool converts() const { return adapter_ != dtype_; }

  const void* converted(const void* factor, std::int64_t rows, std::int64_t columns, std::byte* to) const {
    if (!converts()) return factor;
    const auto element = static_cast<std::int64_t>(size_of(dtype_));
    parallel_rows(rows, columns, [&](std::int64_t begin, std::int64_t end) {
      narrow_row(dtype_, static_cast<const float*>(factor) + begin * columns, to + begin * columns * element,
                 (end - begin) * columns);
    });
    return to;
  }
  const float* wide_bias(const void* const* inputs, std::byte* scratch) const {
    if (!has_bias_) return nullptr;
    if (bias_ == DType::f32) return static_cast<const float*>(inputs[2]);
    auto* wide = reinterpret_cast<float*>(scratch + bias_at_);
    widen_row(bias_, inputs[2], wide, n_);
    return wide;
  }

  bool has_bias_;
  DType dtype_;
  DType adapter_;
  DType bias_ = DType::f32;
  std::int64_t n_;
  std::int64_t k_;
  std::int64_t rank_;
  WeightProduct base_;
  std::unique_ptr<const DnnlMatmul> down_;
  std::unique_ptr<const DnnlMatmul> up_;
  std::int64_t projected_at_;  // offsets in scratch memory
  std::int64_t a_at_;
  std::int64_t b_at_;
  std::int64_t product_at_;
};

bool supports(const KernelRequest& request) {
  const DType dtype = request.output.dtype;
  const DType adapter = request.inputs[request.inputs.size() - 1].dtype;
  const Shape& weight = request.inputs[1].shape();
  const std::int64_t rank = request.inputs[request.inputs.size() - 1].shape()[1];
  if (!DnnlMatmul::available(dtype) || request.inputs[1].dtype != dtype) return false;
  if (adapter != dtype && adapter != DType::f32) return false;
  if (request.inputs.size() == 5 && request.inputs[2].dtype == DType::f64) return false;
  // One row is a product of matrices and vectors, which linear has the better kernels for.
  return request.output.shape().elements() > weight[0] && weight[1] > 0 && rank > 0;
}

std::unique_ptr<Kernel> prepare(const KernelRequest& request) {
  return std::make_unique<LoraLinearKernel>(request);
}

constexpr KernelEntry entries[] = {{.op = "lora_linear", .prepare = prepare, .supports = supports}};

}  // namespace

namespace cpu_kernels {
Entries lora_linear() { return entries; }
}  // namespace cpu_kernels

}  // namespace wick
