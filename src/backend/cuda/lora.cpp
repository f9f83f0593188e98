#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "backend/cuda/hopper/low_rank_product.h"
#include "backend/cuda/kernels.h"
#include "backend/cuda/launch.h"
#include "backend/cuda/lora_kernels.h"
#include "backend/cuda/matmul.h"
#include "backend/cuda/measure.h"
#include "ops/attributes.h"

// What low-rank adapters add to products, for bf16 activations and f32 adapters; other dtypes are decomposed.
namespace wick::cuda {
namespace {

std::int64_t rows_of(const Shape& x) { return x.slice(0, x.rank() - 1).elements(); }

bool takes(const Slot& x, const Slot& adapter, std::int64_t rank) {
  return x.dtype == DType::bf16 && adapter.dtype == DType::f32 && x.shape().rank() > 0 &&
         x.shape().elements() > 0 && x.shape().dim(-1) % 8 == 0 && rank > 0 && rank <= most_lora_rank;
}

std::size_t members_of(const KernelRequest& request) { return request.inputs.size() / 2; }

/// Whether all members are taken, with as many rows and ranks each.
template <typename RankOf>
bool takes_members(const KernelRequest& request, const RankOf& rank_of) {
  for (std::size_t m = 0; m < members_of(request); ++m) {
    const Slot& x = request.inputs[2 * m];
    const Slot& other = request.inputs[2 * m + 1];
    if (!takes(x, other, rank_of(other)) || rank_of(other) != rank_of(request.inputs[1]) ||
        rows_of(x.shape()) != rows_of(request.inputs[0].shape()))
      return false;
  }
  return members_of(request) <= most_joined;
}

/// Inputs are x and a of each member.
class ProjectionKernel final : public Kernel {
 public:
  explicit ProjectionKernel(const KernelRequest& request) {
    const auto options = request.attrs.as<LoraProjectionAttrs>();
    for (std::size_t m = 0; m < members_of(request); ++m) {
      const Shape& x = request.inputs[2 * m].shape();
      LoraProjection p{};
      p.rows = rows_of(x);
      p.depth = x.dim(-1);
      p.rank = rank_of(request.inputs[2 * m + 1], options);
      p.rank_step = options.transposed ? 1 : p.depth;
      p.depth_step = options.transposed ? p.rank : 1;
      p.scale = static_cast<float>(options.scale);
      members_.push_back(p);
    }
  }
  static std::int64_t rank_of(const Slot& a, const LoraProjectionAttrs& options) {
    return a.shape()[options.transposed ? 1 : 0];
  }
  void run(const void* const* inputs, void* output, void* scratch) const override {
    run_results(inputs, &output, scratch);
  }
  void run_results(const void* const* inputs, void* const* outputs, void*) const override {
    std::vector<LoraProjection> members = members_;
    for (std::size_t m = 0; m < members.size(); ++m) {
      members[m].x = inputs[2 * m];
      members[m].a = static_cast<const float*>(inputs[2 * m + 1]);
      members[m].out = static_cast<float*>(outputs[m]);
    }
    launch_lora_projections(members, current_launch().stream);
  }

 private:
  std::vector<LoraProjection> members_;
};

bool supports_projection(const KernelRequest& request) {
  const auto options = request.attrs.as<LoraProjectionAttrs>();
  const auto rank_of = [&](const Slot& a) { return ProjectionKernel::rank_of(a, options); };
  return takes_members(request, rank_of) &&
         (members_of(request) == 1 || joins_lora_projections(rank_of(request.inputs[1])));
}

/// Inputs are x, weight, [bias,] t, b. Either one kernel computes all, or the output starts as t b^T + bias
/// and the product is added to it; which, and how, is chosen by measurement.
class UpdateKernel final : public Kernel {
 public:
  explicit UpdateKernel(const KernelRequest& request)
      : has_bias_(request.attrs.as<LoraUpdateAttrs>().has_bias != 0),
        product_(problem_of(request), DType::bf16, std::nullopt, true) {
    const Shape& y = request.output.shape();
    whole_.rows = rows_of(y);
    whole_.columns = y.dim(-1);
    whole_.depth = request.inputs[0].shape().dim(-1);
    whole_.rank = request.inputs[request.inputs.size() - 2].shape().dim(-1);
    whole_.transposed = request.attrs.as<LoraUpdateAttrs>().transposed != 0;
    if (has_bias_) bias_dtype_ = request.inputs[2].dtype;
    name_ =
        fmt::format("{} x {} x {} with an adapter of rank {}{}{}", whole_.rows, whole_.depth, whole_.columns,
                    whole_.rank, whole_.transposed ? ", transposed" : "", has_bias_ ? ", biased" : "");
  }
  std::size_t scratch_bytes() const override { return product_.scratch_bytes(); }
  void run(const void* const* inputs, void* output, void* scratch) const override {
    const std::size_t t = has_bias_ ? 3 : 2;
    LowRankProduct whole = whole_;
    whole.x = inputs[0];
    whole.weight = inputs[1];
    whole.bias = has_bias_ ? inputs[2] : nullptr;
    whole.t = static_cast<const float*>(inputs[t]);
    whole.b = static_cast<const float*>(inputs[t + 1]);
    whole.out = output;
    const cudaStream_t stream = current_launch().stream;
    const auto launch = [&](int way) {
      way == 0 ? run_apart(whole, scratch) : launch_low_rank_product(whole, way - 1, stream);
    };
    product_.choose(whole.x, whole.weight, output, scratch);
    const bool one_kernel = !has_bias_ || bias_dtype_ == DType::bf16;
    launch(fastest_way(name_, 1 + (one_kernel ? low_rank_product_ways(whole) : 0), stream, launch));
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

  void run_apart(const LowRankProduct& p, void* scratch) const {
    LoraExpansion e{};
    e.t = p.t;
    e.b = p.b;
    e.bias = p.bias;
    e.bias_dtype = bias_dtype_;
    e.out = p.out;
    e.rows = p.rows;
    e.columns = p.columns;
    e.rank = p.rank;
    e.column_step = p.transposed ? 1 : p.rank;
    e.rank_step = p.transposed ? p.columns : 1;
    launch_lora_expansion(e, current_launch().stream);
    product_.run(p.x, p.weight, nullptr, p.out, scratch);
  }

  bool has_bias_;
  DType bias_dtype_ = DType::bf16;
  Product product_;
  LowRankProduct whole_{};
  std::string name_;
};

bool supports_update(const KernelRequest& request) {
  const Slot& t = request.inputs[request.inputs.size() - 2];
  return takes(request.inputs[0], t, t.shape().dim(-1)) && request.inputs[1].dtype == DType::bf16 &&
         request.output.shape().dim(-1) % 8 == 0 && request.output.shape().elements() > 0;
}

/// Inputs are x and t of each member.
class GradientKernel final : public Kernel {
 public:
  explicit GradientKernel(const KernelRequest& request) {
    const auto options = request.attrs.as<LoraGradientAttrs>();
    for (std::size_t m = 0; m < members_of(request); ++m) {
      const Shape& x = request.inputs[2 * m].shape();
      LoraGradient g{};
      g.rows = rows_of(x);
      g.columns = x.dim(-1);
      g.rank = request.inputs[2 * m + 1].shape().dim(-1);
      g.column_step = options.is_transposed(m) ? 1 : g.rank;
      g.rank_step = options.is_transposed(m) ? g.columns : 1;
      members_.push_back(g);
    }
  }
  std::size_t scratch_bytes() const override {
    std::int64_t most = 0;
    for (const LoraGradient& g : members_)
      if (const std::int64_t parts = lora_gradient_parts(g); parts > 1)
        most = std::max(most, parts * g.columns * g.rank);
    return static_cast<std::size_t>(most) * sizeof(float);
  }
  void run(const void* const* inputs, void* output, void* scratch) const override {
    run_results(inputs, &output, scratch);
  }
  void run_results(const void* const* inputs, void* const* outputs, void* scratch) const override {
    std::vector<LoraGradient> members = members_;
    for (std::size_t m = 0; m < members.size(); ++m) {
      members[m].x = inputs[2 * m];
      members[m].t = static_cast<const float*>(inputs[2 * m + 1]);
      members[m].out = static_cast<float*>(outputs[m]);
      members[m].partial = static_cast<float*>(scratch);
    }
    launch_lora_gradients(members, current_launch().stream);
  }

 private:
  std::vector<LoraGradient> members_;
};

bool supports_gradient(const KernelRequest& request) {
  return takes_members(request, [](const Slot& t) { return t.shape().dim(-1); }) &&
         (members_of(request) == 1 || joins_lora_gradients());
}

template <typename K>
std::unique_ptr<Kernel> prepare(const KernelRequest& request) {
  return std::make_unique<K>(request);
}

constexpr KernelEntry entries[] = {
    {.op = "lora_projection", .prepare = prepare<ProjectionKernel>, .supports = supports_projection},
    {.op = "lora_projections", .prepare = prepare<ProjectionKernel>, .supports = supports_projection},
    {.op = "lora_update", .prepare = prepare<UpdateKernel>, .supports = supports_update},
    {.op = "lora_gradient", .prepare = prepare<GradientKernel>, .supports = supports_gradient},
    {.op = "lora_gradients", .prepare = prepare<GradientKernel>, .supports = supports_gradient},
};

}  // namespace

namespace kernels {
Entries lora() { return entries; }
}  // namespace kernels

}  // namespace wick::cuda
