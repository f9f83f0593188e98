#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <span>
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
#include "ops/lora_parts.h"

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

/// An update, or a sum of updates: where its inputs are.
struct UpdateForm {
  explicit UpdateForm(const KernelRequest& request) {
    if (request.op.name == "lora_update") {
      const auto options = request.attrs.as<LoraUpdateAttrs>();
      transposed = options.transposed != 0;
      if (options.has_bias != 0) bias = 2;
      members.push_back({.x = 0, .factor = bias ? std::size_t{3} : std::size_t{2}});
      return;
    }
    const auto options = request.attrs.as<LoraUpdateSumAttrs>();
    transposed = options.transposed != 0;
    if (options.has_bias != 0) bias = request.inputs.size() - 1;
    members = lora_update_members(request.inputs.size(), options);
    scales = options.scales;
  }
  bool projects() const { return std::ranges::any_of(members, &LoraUpdateMember::projects); }
  /// The rank of a member that has factors.
  std::int64_t rank(const KernelRequest& request, const LoraUpdateMember& member) const {
    const Shape& b = request.inputs[member.b()].shape();
    return b[transposed ? 0 : 1];
  }
  bool transposed = false;
  std::optional<std::size_t> bias;
  std::vector<LoraUpdateMember> members;  ///< the first one has factors
  std::array<double, LoraUpdateSumAttrs::most_members> scales{};
};

/// All but the addresses.
LowRankProduct low_rank_product_of(const KernelRequest& request, const UpdateForm& form) {
  const Shape& y = request.output.shape();
  LowRankProduct whole{};
  whole.rows = rows_of(y);
  whole.columns = y.dim(-1);
  whole.transposed = form.transposed;
  for (const LoraUpdateMember& member : form.members) {
    const double scale = form.scales[static_cast<std::size_t>(whole.count)];
    LowRankProduct::Member& to = whole.members[static_cast<std::size_t>(whole.count++)];
    to.depth = request.inputs[member.x].shape().dim(-1);
    if (member.factor == 0) continue;
    to.rank = form.rank(request, member);
    to.scale = static_cast<float>(scale);
  }
  return whole;
}

/// Tiles of few columns project on their own; more would do so too often, and share what one of them
/// projects.
bool shares_projections(const Shape& y) {
  constexpr std::int64_t most_columns = 1024;
  return y.dim(-1) > most_columns;
}

/// Either one kernel computes all, or projections come before it, or the output starts as t b^T + bias of the
/// first member, and products and the factors of others are added to it; which, and how, is chosen by
/// measurement.
class UpdateKernel final : public Kernel {
 public:
  explicit UpdateKernel(const KernelRequest& request)
      : form_(request),
        whole_(low_rank_product_of(request, form_)),
        shares_(form_.projects() && shares_projections(request.output.shape())) {
    for (const LoraUpdateMember& member : form_.members)
      products_.emplace_back(problem_of(request, member, form_.transposed), DType::bf16, std::nullopt, true);
    if (form_.bias) bias_dtype_ = request.inputs[*form_.bias].dtype;
    place_scratch();
    name_ = fmt::format("{} x ", whole_.rows);
    for (std::size_t m = 0; m < form_.members.size(); ++m)
      name_ += fmt::format("{} ({}rank {}) ", whole_.members[m].depth,
                           form_.members[m].projects ? "projected, " : "", whole_.members[m].rank);
    name_ += fmt::format("x {} with an adapter{}{}", whole_.columns, form_.transposed ? ", transposed" : "",
                         form_.bias ? ", biased" : "");
  }
  std::size_t scratch_bytes() const override { return scratch_bytes_; }
  void run(const void* const* inputs, void* output, void* scratch) const override {
    run_results(inputs, &output, scratch);
  }
  void run_results(const void* const* inputs, void* const* outputs, void* scratch) const override {
    LowRankProduct whole = whole_;
    std::vector<LoraProjection> projections;
    auto* const own_memory = static_cast<std::byte*>(scratch);
    whole.out = *outputs;
    if (form_.bias) whole.bias = inputs[*form_.bias];
    for (std::size_t m = 0; m < form_.members.size(); ++m) {
      const LoraUpdateMember& from = form_.members[m];
      LowRankProduct::Member& to = whole.members[m];
      to.x = inputs[from.x];
      to.weight = inputs[from.weight()];
      if (from.factor == 0) continue;
      const auto* const factor = static_cast<const float*>(inputs[from.factor]);
      (from.projects ? to.a : to.t) = factor;
      to.b = static_cast<const float*>(inputs[from.b()]);
      if (!from.projects) continue;
      float* const t =
          from.keeps ? static_cast<float*>(*++outputs) : reinterpret_cast<float*>(own_memory + own_t_[m]);
      to.t = t;
      if (from.keeps || shares_) to.t_out = t;
      projections.push_back({to.x, to.a, t, whole.rows, to.depth, to.rank, whole.transposed ? 1 : to.depth,
                             whole.transposed ? to.rank : 1, to.scale});
    }
    if (shares_) whole.ready = reinterpret_cast<unsigned int*>(own_memory + ready_);
    for (std::size_t m = 0; m < products_.size(); ++m)
      products_[m].choose(whole.members[m].x, whole.members[m].weight, whole.out, scratch);
    run_fastest(whole, projections, scratch);
  }

 private:
  static MatmulProblem problem_of(const KernelRequest& request, const LoraUpdateMember& member,
                                  bool transposed) {
    const Layout& x = request.inputs[member.x].layout;
    const Layout& weight = request.inputs[member.weight()].layout;
    const Shape& y = request.output.shape();
    if (!transposed) return linear_problem(x, weight, y);
    const Layout flipped{{weight.shape[1], weight.shape[0]}, {weight.strides[1], weight.strides[0]}};
    return linear_problem(x, flipped, y);
  }

  /// What products need, then what members project that nobody else reads, and counts of it.
  void place_scratch() {
    for (const Product& product : products_)
      scratch_bytes_ = std::max(scratch_bytes_, product.scratch_bytes());
    const auto place = [&](std::int64_t bytes) {
      constexpr std::size_t line = 64;  // bytes
      const std::size_t at = (scratch_bytes_ + line - 1) / line * line;
      scratch_bytes_ = at + static_cast<std::size_t>(bytes);
      return at;
    };
    constexpr auto float_bytes = std::int64_t{sizeof(float)};
    for (std::size_t m = 0; m < form_.members.size(); ++m)
      if (form_.members[m].projects && !form_.members[m].keeps)
        own_t_[m] = place(whole_.rows * whole_.members[m].rank * float_bytes);
    if (shares_)
      ready_ = place(LowRankProduct::row_groups(whole_.rows) * std::int64_t{sizeof(*whole_.ready)});
  }

  void run_fastest(const LowRankProduct& whole, std::span<const LoraProjection> projections,
                   void* scratch) const {
    const cudaStream_t stream = current_launch().stream;
    LowRankProduct given = whole;  // reads what was projected before
    for (LowRankProduct::Member& member : given.members) member.a = nullptr;
    const bool one_kernel = !form_.bias || bias_dtype_ == DType::bf16;
    const int reading = 1 + (one_kernel ? low_rank_product_ways(given) : 0);
    const int projecting = projections.empty() ? 0 : low_rank_product_ways(whole);
    const auto launch = [&](int way) {
      if (way >= reading) return launch_low_rank_product(whole, way - reading, stream);
      launch_all(projections, stream);
      way == 0 ? run_apart(given, scratch) : launch_low_rank_product(given, way - 1, stream);
    };
    launch(fastest_way(name_, reading + projecting, stream, launch));
  }

  /// Together where they have a rank in common.
  static void launch_all(std::span<const LoraProjection> projections, cudaStream_t stream) {
    for (std::size_t count = 0; !projections.empty(); projections = projections.subspan(count)) {
      const auto other = std::ranges::find_if(
          projections, [&](const LoraProjection& p) { return p.rank != projections[0].rank; });
      count = static_cast<std::size_t>(other - projections.begin());
      launch_lora_projections(projections.first(count), stream);
    }
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
  bool shares_;  ///< what one tile projects
  DType bias_dtype_ = DType::bf16;
  std::vector<Product> products_;
  std::array<std::size_t, LoraUpdateSumAttrs::most_members> own_t_{};  ///< where in the scratch
  std::size_t ready_ = 0;                                              ///< likewise
  std::size_t scratch_bytes_ = 0;
  std::string name_;
};

bool takes_update(const KernelRequest& request, const UpdateForm& form) {
  const Slot& y = request.output;
  return y.shape().dim(-1) % 8 == 0 && y.shape().elements() > 0 &&
         std::ranges::all_of(form.members, [&](const LoraUpdateMember& member) {
           const Slot& x = request.inputs[member.x];
           if (request.inputs[member.weight()].dtype != DType::bf16) return false;
           if (member.factor == 0) return x.dtype == DType::bf16 && x.shape().dim(-1) % 8 == 0;
           return takes(x, request.inputs[member.factor], form.rank(request, member));
         });
}

/// Whether a product may gain by projecting. Tiles that share wait for each other, which takes longer than a
/// launch that reads a small x.
bool may_project(const KernelRequest& request, const UpdateForm& form) {
  constexpr std::int64_t most_rank = 16;
  constexpr std::int64_t least_rows = 64;
  constexpr std::int64_t least_shared = std::int64_t{8} << 20;  // elements of x
  const bool shares = shares_projections(request.output.shape());
  return rows_of(request.output.shape()) >= least_rows &&
         (!form.bias || request.inputs[*form.bias].dtype == DType::bf16) &&
         std::ranges::all_of(form.members, [&](const LoraUpdateMember& member) {
           return !member.projects ||
                  (form.rank(request, member) <= most_rank &&
                   (!shares || request.inputs[member.x].shape().elements() >= least_shared));
         });
}

bool supports_update(const KernelRequest& request) { return takes_update(request, UpdateForm(request)); }

/// Several where the output alone has tiles for most of the GPU: one of less is better off with members that
/// split their depth.
bool supports_update_sum(const KernelRequest& request) {
  constexpr std::int64_t tile = std::int64_t{128} * 224;
  const UpdateForm form(request);
  if (!takes_update(request, form) || low_rank_product_ways(low_rank_product_of(request, form)) == 0)
    return false;
  const bool has_tiles = 4 * request.output.shape().elements() >= 3 * tile * multiprocessors();
  return (form.members.size() == 1 || has_tiles) && (!form.projects() || may_project(request, form));
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
