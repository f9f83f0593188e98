#include "backend/cuda/kernels.h"
#include "backend/cuda/launch.h"
#include "backend/cuda/lora_kernels.h"
#include "backend/cuda/matmul.h"
#include "ops/attributes.h"

// What low-rank adapters add to products, for bf16 activations and f32 adapters; other dtypes are decomposed.
namespace wick::cuda {
namespace {

std::int64_t rows_of(const Shape& x) { return x.slice(0, x.rank() - 1).elements(); }

bool takes(const Slot& x, const Slot& adapter, std::int64_t rank) {
  return x.dtype == DType::bf16 && adapter.dtype == DType::f32 && x.shape().rank() > 0 &&
         x.shape().elements() > 0 && x.shape().dim(-1) % 8 == 0 && rank > 0 && rank <= most_lora_rank;
}

/// Inputs are x and a.
class ProjectionKernel final : public Kernel {
 public:
  explicit ProjectionKernel(const KernelRequest& request) {
    const auto options = request.attrs.as<LoraProjectionAttrs>();
    const Shape& x = request.inputs[0].shape();
    projection_.rows = rows_of(x);
    projection_.depth = x.dim(-1);
    projection_.rank = request.output.shape().dim(-1);
    projection_.rank_step = options.transposed ? 1 : projection_.depth;
    projection_.depth_step = options.transposed ? projection_.rank : 1;
    projection_.scale = static_cast<float>(options.scale);
  }
  void run(const void* const* inputs, void* output, void*) const override {
    LoraProjection p = projection_;
    p.x = inputs[0];
    p.a = static_cast<const float*>(inputs[1]);
    p.out = static_cast<float*>(output);
    launch_lora_projection(p, current_launch().stream);
  }

 private:
  LoraProjection projection_{};
};

bool supports_projection(const KernelRequest& request) {
  return takes(request.inputs[0], request.inputs[1], request.output.shape().dim(-1));
}

/// Inputs are x, weight, [bias,] t, b: the output starts as t b^T + bias, and the product is added to it.
class UpdateKernel final : public Kernel {
 public:
  explicit UpdateKernel(const KernelRequest& request)
      : has_bias_(request.attrs.as<LoraUpdateAttrs>().has_bias != 0),
        product_(problem_of(request), DType::bf16, std::nullopt, true) {
    const bool transposed = request.attrs.as<LoraUpdateAttrs>().transposed != 0;
    const Shape& y = request.output.shape();
    expansion_.rows = rows_of(y);
    expansion_.columns = y.dim(-1);
    expansion_.rank = request.inputs[request.inputs.size() - 2].shape().dim(-1);
    expansion_.column_step = transposed ? 1 : expansion_.rank;
    expansion_.rank_step = transposed ? expansion_.columns : 1;
    if (has_bias_) expansion_.bias_dtype = request.inputs[2].dtype;
  }
  std::size_t scratch_bytes() const override { return product_.scratch_bytes(); }
  void run(const void* const* inputs, void* output, void* scratch) const override {
    product_.choose(inputs[0], inputs[1], output, scratch);
    const std::size_t t = has_bias_ ? 3 : 2;
    LoraExpansion e = expansion_;
    e.t = static_cast<const float*>(inputs[t]);
    e.b = static_cast<const float*>(inputs[t + 1]);
    e.bias = has_bias_ ? inputs[2] : nullptr;
    e.out = output;
    launch_lora_expansion(e, current_launch().stream);
    product_.run(inputs[0], inputs[1], nullptr, output, scratch);
  }

 private:
  static MatmulProblem problem_of(const KernelRequest& request) {
    const Layout& x = request.inputs[0].layout;
    const Layout& weight = request.inputs[1].layout;
    const Shape& y = request.output.shape();
    if (request.attrs.as<LoraUpdateAttrs>().transposed == 0) return linear_problem(x, weight, y);
    const Layout flipped{{weight.shape[1], weight.shape[0]}, {weight.strides[1], weight.strides[0]}};
    return linear_problem(x, flipped, y);
  }

  bool has_bias_;
  Product product_;
  LoraExpansion expansion_{};
};

bool supports_update(const KernelRequest& request) {
  const Slot& t = request.inputs[request.inputs.size() - 2];
  return takes(request.inputs[0], t, t.shape().dim(-1)) && request.inputs[1].dtype == DType::bf16 &&
         request.output.shape().dim(-1) % 8 == 0 && request.output.shape().elements() > 0;
}

/// Inputs are x and t.
class GradientKernel final : public Kernel {
 public:
  explicit GradientKernel(const KernelRequest& request) {
    const Shape& x = request.inputs[0].shape();
    gradient_.rows = rows_of(x);
    gradient_.columns = x.dim(-1);
    gradient_.rank = request.inputs[1].shape().dim(-1);
    const bool transposed = request.attrs.as<LoraGradientAttrs>().transposed != 0;
    gradient_.column_step = transposed ? 1 : gradient_.rank;
    gradient_.rank_step = transposed ? gradient_.columns : 1;
  }
  std::size_t scratch_bytes() const override {
    const std::int64_t splits = lora_gradient_splits(gradient_);
    if (splits == 1) return 0;
    return static_cast<std::size_t>(splits * gradient_.columns * gradient_.rank) * sizeof(float);
  }
  void run(const void* const* inputs, void* output, void* scratch) const override {
    LoraGradient g = gradient_;
    g.x = inputs[0];
    g.t = static_cast<const float*>(inputs[1]);
    g.out = static_cast<float*>(output);
    g.partial = static_cast<float*>(scratch);
    launch_lora_gradient(g, current_launch().stream);
  }

 private:
  LoraGradient gradient_{};
};

bool supports_gradient(const KernelRequest& request) {
  return takes(request.inputs[0], request.inputs[1], request.inputs[1].shape().dim(-1));
}

template <typename K>
std::unique_ptr<Kernel> prepare(const KernelRequest& request) {
  return std::make_unique<K>(request);
}

constexpr KernelEntry entries[] = {
    {.op = "lora_projection", .prepare = prepare<ProjectionKernel>, .supports = supports_projection},
    {.op = "lora_update", .prepare = prepare<UpdateKernel>, .supports = supports_update},
    {.op = "lora_gradient", .prepare = prepare<GradientKernel>, .supports = supports_gradient},
};

}  // namespace

namespace kernels {
Entries lora() { return entries; }
}  // namespace kernels

}  // namespace wick::cuda
