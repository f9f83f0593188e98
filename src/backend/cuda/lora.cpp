#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "backend/cuda/gpu.h"
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

/// Where in the inputs of an update, or of a sum of updates, something is.
struct UpdateMember {
  std::size_t x;
  std::size_t t;  ///< its b is behind it; 0: no factors
  std::size_t weight() const { return x + 1; }
};

struct UpdateForm {
  explicit UpdateForm(const KernelRequest& request) {
    if (request.op.name == "lora_update") {
      const auto options = request.attrs.as<LoraUpdateAttrs>();
      transposed = options.transposed != 0;
      if (options.has_bias != 0) bias = 2;
      members.push_back({0, bias ? std::size_t{3} : std::size_t{2}});
      return;
    }
    const auto options = request.attrs.as<LoraUpdateSumAttrs>();
    transposed = options.transposed != 0;
    for (std::size_t x = 0; x < request.inputs.size();) {
      const bool plain = options.is_plain(members.size());
      members.push_back({x, plain ? 0 : x + 2});
      x += plain ? 2 : 4;
    }
  }
  bool transposed = false;
  std::optional<std::size_t> bias;
  std::vector<UpdateMember> members;  ///< the first one has factors
};

/// All but the addresses.
LowRankProduct low_rank_product_of(const KernelRequest& request, const UpdateForm& form) {
  const Shape& y = request.output.shape();
  LowRankProduct whole{};
  whole.rows = rows_of(y);
  whole.columns = y.dim(-1);
  whole.transposed = form.transposed;
  for (const UpdateMember& member : form.members) {
    LowRankProduct::Member& to = whole.members[static_cast<std::size_t>(whole.count++)];
    to.depth = request.inputs[member.x].shape().dim(-1);
    if (member.t != 0) to.rank = request.inputs[member.t].shape().dim(-1);
  }
  return whole;
}

/// Either one kernel computes all, or the output starts as t b^T + bias of the first member, and products and
/// the factors of others are added to it; which, and how, is chosen by measurement.
class UpdateKernel final : public Kernel {
 public:
  explicit UpdateKernel(const KernelRequest& request)
      : form_(request), whole_(low_rank_product_of(request, form_)) {
    for (const UpdateMember& member : form_.members)
      products_.emplace_back(problem_of(request, member, form_.transposed), DType::bf16, std::nullopt, true);
    if (form_.bias) bias_dtype_ = request.inputs[*form_.bias].dtype;
    name_ = fmt::format("{} x ", whole_.rows);
    for (const LowRankProduct::Member& member : whole_.terms())
      name_ += fmt::format("{} (rank {}) ", member.depth, member.rank);
    name_ += fmt::format("x {} with an adapter{}{}", whole_.columns, form_.transposed ? ", transposed" : "",
                         form_.bias ? ", biased" : "");
  }
  std::size_t scratch_bytes() const override {
    std::size_t most = 0;
    for (const Product& product : products_) most = std::max(most, product.scratch_bytes());
    return most;
  }
  void run(const void* const* inputs, void* output, void* scratch) const override {
    LowRankProduct whole = whole_;
    for (std::size_t m = 0; m < form_.members.size(); ++m) {
      const UpdateMember& from = form_.members[m];
      LowRankProduct::Member& to = whole.members[m];
      to.x = inputs[from.x];
      to.weight = inputs[from.weight()];
      if (from.t == 0) continue;
      to.t = static_cast<const float*>(inputs[from.t]);
      to.b = static_cast<const float*>(inputs[from.t + 1]);
    }
    if (form_.bias) whole.bias = inputs[*form_.bias];
    whole.out = output;
    const cudaStream_t stream = current_launch().stream;
    const auto launch = [&](int way) {
      way == 0 ? run_apart(whole, scratch) : launch_low_rank_product(whole, way - 1, stream);
    };
    for (std::size_t m = 0; m < products_.size(); ++m)
      products_[m].choose(whole.members[m].x, whole.members[m].weight, output, scratch);
    const bool one_kernel = !form_.bias || bias_dtype_ == DType::bf16;
    launch(fastest_way(name_, 1 + (one_kernel ? low_rank_product_ways(whole) : 0), stream, launch));
  }

 private:
  static MatmulProblem problem_of(const KernelRequest& request, const UpdateMember& member, bool transposed) {
    const Layout& x = request.inputs[member.x].layout;
    const Layout& weight = request.inputs[member.weight()].layout;
    const Shape& y = request.output.shape();
    if (!transposed) return linear_problem(x, weight, y);
    const Layout flipped{{weight.shape[1], weight.shape[0]}, {weight.strides[1], weight.strides[0]}};
    return linear_problem(x, flipped, y);
  }

  void run_apart(const LowRankProduct& p, void* scratch) const {
    for (std::size_t m = 0; m < products_.size(); ++m) {
      const LowRankProduct::Member& member = p.members[m];
      if (member.rank > 0) {
        LoraExpansion e{};
        e.t = member.t;
        e.b = member.b;
        e.bias = m == 0 ? p.bias : nullptr;
        e.bias_dtype = bias_dtype_;
        e.out = p.out;
        e.rows = p.rows;
        e.columns = p.columns;
        e.rank = member.rank;
        e.column_step = p.transposed ? 1 : member.rank;
        e.rank_step = p.transposed ? p.columns : 1;
        e.accumulate = m > 0;
        launch_lora_expansion(e, current_launch().stream);
      }
      products_[m].run(member.x, member.weight, nullptr, p.out, scratch);
    }
  }

  UpdateForm form_;
  LowRankProduct whole_;
  DType bias_dtype_ = DType::bf16;
  std::vector<Product> products_;
  std::string name_;
};

bool takes_update(const KernelRequest& request, const UpdateForm& form) {
  const Slot& y = request.output;
  return y.shape().dim(-1) % 8 == 0 && y.shape().elements() > 0 &&
         std::all_of(form.members.begin(), form.members.end(), [&](const UpdateMember& member) {
           const Slot& x = request.inputs[member.x];
           if (request.inputs[member.weight()].dtype != DType::bf16) return false;
           if (member.t == 0) return x.dtype == DType::bf16 && x.shape().dim(-1) % 8 == 0;
           const Slot& t = request.inputs[member.t];
           return takes(x, t, t.shape().dim(-1));
         });
}

bool supports_update(const KernelRequest& request) { return takes_update(request, UpdateForm(request)); }

/// Where the output alone has tiles for most of the GPU: one of less is better off with members that split
/// their depth.
bool supports_update_sum(const KernelRequest& request) {
  constexpr std::int64_t tile = std::int64_t{128} * 224;
  const UpdateForm form(request);
  return takes_update(request, form) && low_rank_product_ways(low_rank_product_of(request, form)) > 0 &&
         4 * request.output.shape().elements() >= 3 * tile * multiprocessors();
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
    {.op = "lora_update_sum", .prepare = prepare<UpdateKernel>, .supports = supports_update_sum},
    {.op = "lora_gradient", .prepare = prepare<GradientKernel>, .supports = supports_gradient},
    {.op = "lora_gradients", .prepare = prepare<GradientKernel>, .supports = supports_gradient},
};

}  // namespace

namespace kernels {
Entries lora() { return entries; }
}  // namespace kernels

}  // namespace wick::cuda
