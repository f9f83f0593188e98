#include "backend/cpu/linear.h"

#include <algorithm>

#include "backend/cpu/float_convert.h"
#include "backend/cpu/layer_products.h"
#include "backend/cpu/matmul_dnnl.h"
#include "backend/cpu/matmul_rows.h"
#include "backend/cpu/matrix_product.h"
#include "backend/cpu/row_parallel.h"
#include "backend/cpu/weight_product.h"
#include "backend/matmul_problem.h"

namespace wick {
namespace {

/// What linear_epilogue says, and what linear would.
LinearEpilogueAttrs epilogue_of(const KernelRequest& request) {
  if (request.op.name == "linear_epilogue") return request.attrs.as<LinearEpilogueAttrs>();
  return {.has_bias = request.inputs.size() > 2,
          .transposed = 0,
          .activation = Activation::none,
          .combination = Combination::none};
}

MatmulProblem whole_problem(const KernelRequest& request) {
  return product_of(rows_of(request), request.output.shape().dim(-1), request.inputs[0].shape().dim(-1),
                    epilogue_of(request).transposed != 0);
}

ProductOptions whole_options(const KernelRequest& request) {
  const LinearEpilogueAttrs epilogue = epilogue_of(request);
  ProductOptions options;
  if (epilogue.has_bias) options.bias = DType::f32;
  options.activation = epilogue.activation;
  options.combination = epilogue.combination;
  return options;
}

/// What every way to compute it needs: x [m, k], a weight and bias [n], each contiguous. Scratch memory
/// begins with the bias as f32.
class LinearKernel : public Kernel {
 public:
  explicit LinearKernel(const KernelRequest& request)
      : dtype_(request.output.dtype),
        weight_dtype_(request.inputs[1].dtype),
        m_(rows_of(request)),
        n_(request.output.shape().dim(-1)),
        k_(request.inputs[0].shape().dim(-1)) {
    if (epilogue_of(request).has_bias) bias_dtype_ = request.inputs[2].dtype;
  }

 protected:
  MatmulProblem problem(std::int64_t rows_of_weight) const {
    return product_of(m_, rows_of_weight, k_, false);
  }
  std::optional<DType> product_bias() const { return bias_dtype_ ? std::optional(DType::f32) : std::nullopt; }
  std::int64_t bias_floats() const { return bias_dtype_ ? padded_floats(n_) : 0; }
  /// Null without bias.
  const float* wide_bias(const void* const* inputs, void* scratch) const {
    if (!bias_dtype_) return nullptr;
    if (*bias_dtype_ == DType::f32) return static_cast<const float*>(inputs[2]);
    widen_row(*bias_dtype_, inputs[2], static_cast<float*>(scratch), n_);
    return static_cast<const float*>(scratch);
  }

  DType dtype_;
  DType weight_dtype_;
  std::optional<DType> bias_dtype_;
  std::int64_t m_;
  std::int64_t n_;
  std::int64_t k_;
};

/// One row of x: generating text.
class OneRow final : public LinearKernel {
 public:
  using LinearKernel::LinearKernel;
  std::size_t scratch_bytes() const override {
    return static_cast<std::size_t>(bias_floats() + padded_floats(k_)) * sizeof(float);
  }
  void run(const void* const* inputs, void* output, void* scratch) const override {
    const float* bias = wide_bias(inputs, scratch);
    const void* x = inputs[0];
    if (dtype_ != DType::f32) {
      float* wide = static_cast<float*>(scratch) + bias_floats();
      widen_row(dtype_, x, wide, k_);
      x = wide;
    }
    const auto* weight = static_cast<const std::byte*>(inputs[1]);
    const auto row_bytes = k_ * static_cast<std::int64_t>(size_of(weight_dtype_));
    const auto element = static_cast<std::int64_t>(size_of(dtype_));
    parallel_rows(n_, k_, [&](std::int64_t begin, std::int64_t end) {
      dot_rows(weight_dtype_, weight + begin * row_bytes, k_, end - begin, k_, static_cast<const float*>(x),
               bias ? bias + begin : nullptr, dtype_, static_cast<std::byte*>(output) + begin * element);
    });
  }
};

/// x and the weight of one dtype; also with what an epilogue does.
class WholeProduct final : public LinearKernel {
 public:
  explicit WholeProduct(const KernelRequest& request)
      : LinearKernel(request),
        product_(WeightProduct::make(request, 1, whole_problem(request), dtype_, whole_options(request))) {
    if (epilogue_of(request).combination != Combination::none) combined_ = request.inputs.size() - 1;
  }
  std::size_t scratch_bytes() const override {
    return static_cast<std::size_t>(bias_floats()) * sizeof(float) + product_.product->scratch_bytes();
  }
  void run(const void* const* inputs, void* output, void* scratch) const override {
    product_.product->run_combined(inputs[0], inputs[1], wide_bias(inputs, scratch),
                                   combined_ > 0 ? inputs[combined_] : nullptr, output,
                                   static_cast<float*>(scratch) + bias_floats());
  }
  std::span<const Packing> packings() const override { return product_.packings; }
  void pack(const Packing&, const void* input, void* packed) const override {
    product_.product->pack(input, packed);
  }

 private:
  WeightProduct product_;
  std::size_t combined_ = 0;  // which input that is, if any
};

/// f32 x by a 16-bit weight that is widened some rows at a time, so that the copy stays in the cache.
class WideningProduct final : public LinearKernel {
 public:
  explicit WideningProduct(const KernelRequest& request)
      : LinearKernel(request),
        block_(std::min(most_rows, n_)),
        product_(MatrixProduct::make(problem(block_), DType::f32, block_options())) {
    if (n_ % block_ != 0) rest_ = MatrixProduct::make(problem(n_ % block_), DType::f32, block_options());
  }
  std::size_t scratch_bytes() const override {
    const std::size_t product = std::max(product_->scratch_bytes(), rest_ ? rest_->scratch_bytes() : 0);
    return static_cast<std::size_t>(bias_floats() + padded_floats(block_ * k_)) * sizeof(float) + product;
  }
  void run(const void* const* inputs, void* output, void* scratch) const override {
    const float* bias = wide_bias(inputs, scratch);
    float* wide = static_cast<float*>(scratch) + bias_floats();
    const auto* weight = static_cast<const std::byte*>(inputs[1]);
    const auto row_bytes = k_ * static_cast<std::int64_t>(size_of(weight_dtype_));
    for (std::int64_t first = 0; first < n_; first += block_) {
      const std::int64_t rows = std::min(block_, n_ - first);
      parallel_rows(rows, k_, [&](std::int64_t begin, std::int64_t end) {
        widen_row(weight_dtype_, weight + (first + begin) * row_bytes, wide + begin * k_, (end - begin) * k_);
      });
      const MatrixProduct& product = rows == block_ ? *product_ : *rest_;
      product.run(inputs[0], wide, bias ? bias + first : nullptr, static_cast<float*>(output) + first,
                  wide + padded_floats(block_ * k_));
    }
  }

 private:
  static constexpr std::int64_t most_rows = 256;
  ProductOptions block_options() const { return {.c_row_stride = n_, .bias = product_bias()}; }
  std::int64_t block_;
  std::unique_ptr<const MatrixProduct> product_;
  std::unique_ptr<const MatrixProduct> rest_;
};

bool fits_whole(const KernelRequest& request) {
  return MatrixProduct::make(whole_problem(request), request.output.dtype, whole_options(request)) != nullptr;
}

}  // namespace

bool supports_linear(const KernelRequest& request) {
  const DType x = request.inputs[0].dtype;
  const DType weight = request.inputs[1].dtype;
  if (request.output.shape().elements() == 0 || request.inputs[1].shape()[1] == 0) return false;
  if (request.inputs.size() > 2 && request.inputs[2].dtype == DType::f64) return false;
  if (!DnnlMatmul::available(x)) return false;
  return weight == x || (x == DType::f32 && weight != DType::f64);
}

std::unique_ptr<Kernel> prepare_linear(const KernelRequest& request) {
  const Shape& weight = request.inputs[1].shape();
  if (request.inputs[0].shape().elements() == weight[1]) return std::make_unique<OneRow>(request);
  if (request.inputs[1].dtype == request.output.dtype) return std::make_unique<WholeProduct>(request);
  return std::make_unique<WideningProduct>(request);
}

bool supports_linear_epilogue(const KernelRequest& request) {
  const DType dtype = request.output.dtype;
  if (request.output.shape().elements() == 0 || request.inputs[0].shape().elements() == 0) return false;
  if (!DnnlMatmul::available(dtype) || request.inputs[1].dtype != dtype || rows_of(request) < 2) return false;
  if (epilogue_of(request).has_bias && request.inputs[2].dtype == DType::f64) return false;
  return fits_whole(request);
}

std::unique_ptr<Kernel> prepare_linear_epilogue(const KernelRequest& request) {
  return std::make_unique<WholeProduct>(request);
}

}  // namespace wick
