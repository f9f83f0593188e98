#include <algorithm>
#include <cstddef>

#include "backend/cuda/attention_problem.h"
#include "backend/cuda/check.h"
#include "backend/cuda/kernels.h"
#include "backend/cuda/launch.h"
#include "ops/attributes.h"

namespace wick::cuda {
namespace {

AttentionSteps steps_of(const Layout& layout) {
  std::array<std::int64_t, 4> steps{};
  const int rank = layout.shape.rank();
  for (int i = 0; i < rank; ++i)
    if (layout.shape[i] > 1)
      steps[static_cast<std::size_t>(4 - rank + i)] = layout.strides[static_cast<std::size_t>(i)];
  return {steps[0], steps[1], steps[2], steps[3]};
}

/// `mask` is the position of the mask among the inputs, if there is one. Addresses are left out.
AttentionProblem problem_of(const KernelRequest& request, std::size_t mask) {
  const auto options = request.attrs.as<AttentionAttrs>();
  const Shape& q = request.inputs[0].shape();
  const Shape& k = request.inputs[1].shape();
  AttentionProblem p{};
  p.dtype = request.output.dtype;
  p.batch = q[0];
  p.heads = q[1];
  p.kv_heads = k[1];
  p.m = q[2];
  p.n = k[2];
  p.d = q[3];
  p.scale = options.scale;
  p.causal = options.causal != 0;
  p.window = options.window;
  p.q_steps = steps_of(request.inputs[0].layout);
  p.k_steps = steps_of(request.inputs[1].layout);
  p.v_steps = steps_of(request.inputs[2].layout);
  p.out_steps = steps_of(request.output.layout);
  if (options.has_mask != 0) {
    p.mask_dtype = request.inputs[mask].dtype;
    p.mask_steps = steps_of(request.inputs[mask].layout);
  }
  return p;
}

/// Where mask and offset are among the inputs; 0: there is none.
struct Options {
  Options(const AttentionAttrs& attrs, std::size_t first)
      : mask(attrs.has_mask != 0 ? first : 0),
        offset(attrs.has_offset != 0 ? first + (attrs.has_mask != 0 ? 1 : 0) : 0) {}
  void bind(AttentionProblem& p, const void* const* inputs) const {
    p.q = inputs[0];
    p.k = inputs[1];
    p.v = inputs[2];
    p.mask = mask != 0 ? inputs[mask] : nullptr;
    p.offset = offset != 0 ? static_cast<const long long*>(inputs[offset]) : nullptr;
  }
  std::size_t mask;
  std::size_t offset;
};

/// Whether rows of d can be read 16 bytes at a time, given that they start at multiples of 16.
bool has_packed_rows(const AttentionSteps& steps) {
  return steps.d == 1 && steps.position % 8 == 0 && steps.head % 8 == 0 && steps.batch % 8 == 0;
}
bool is_aligned(const void* address) { return reinterpret_cast<std::uintptr_t>(address) % 16 == 0; }

bool is_packed(const AttentionProblem& p) {
  return (p.dtype == DType::bf16 || p.dtype == DType::f16) && p.d % 8 == 0 && has_packed_rows(p.q_steps) &&
         has_packed_rows(p.k_steps) && has_packed_rows(p.v_steps);
}
/// Of a tensor [batch, heads, length, d] whose heads lie side by side: [batch, length, heads, d] row by row.
AttentionSteps side_by_side(std::int64_t heads, std::int64_t length, std::int64_t d) {
  return {length * heads * d, d, heads * d, 1};
}
bool is_aligned(const AttentionProblem& p) { return is_aligned(p.q) && is_aligned(p.k) && is_aligned(p.v); }

class AttentionKernel final : public Kernel {
 public:
  explicit AttentionKernel(const KernelRequest& request)
      : problem_(problem_of(request, 3)),
        options_(request.attrs.as<AttentionAttrs>(), 3),
        bytes_(static_cast<std::size_t>(request.output.shape().elements()) * size_of(problem_.dtype)),
        packed_(is_packed(problem_) && has_packed_rows(problem_.out_steps)),
        decodes_(packed_ && problem_.d <= most_decode_d &&
                 problem_.heads / problem_.kv_heads * problem_.m <= most_decode_rows) {}

  std::size_t scratch_bytes() const override { return decodes_ ? decode_attention_scratch(problem_) : 0; }

  void run(const void* const* inputs, void* output, void* scratch) const override {
    if (bytes_ == 0) return;
    const cudaStream_t stream = current_launch().stream;
    if (problem_.n == 0) return check(cudaMemsetAsync(output, 0, bytes_, stream), "attention to nothing");
    AttentionProblem p = problem_;
    options_.bind(p, inputs);
    p.out = output;
    if (!packed_ || !is_aligned(p))
      launch_plain_attention(p, stream);
    else if (decodes_)
      launch_decode_attention(p, scratch, stream);
    else
      launch_flash_attention(p, stream);
  }

 private:
  AttentionProblem problem_;
  Options options_;
  std::size_t bytes_;
  bool packed_;
  bool decodes_;
};

RotationTable table_of(const Layout& layout) {
  const auto step = [&](int i) {
    return layout.shape[i] > 1 ? layout.strides[static_cast<std::size_t>(i)] : 0;
  };
  return {nullptr, step(0), step(1), step(2)};
}

/// Inputs are q, k, v, output, its gradient, [mask,] [offset,] [cos, sin]; the output holds the gradients of
/// q, k and v.
class AttentionGradientKernel final : public Kernel {
 public:
  explicit AttentionGradientKernel(const KernelRequest& request)
      : options_(request.attrs.as<AttentionAttrs>(), 5),
        bytes_(static_cast<std::size_t>(request.output.shape().elements()) * size_of(request.output.dtype)) {
    problem_.forward = problem_of(request, 5);
    problem_.out_steps = steps_of(request.inputs[3].layout);
    problem_.grad_steps = steps_of(request.inputs[4].layout);
    const AttentionProblem& p = problem_.forward;
    problem_.q_gradient_steps = side_by_side(p.heads, p.m, p.d);
    problem_.k_gradient_steps = side_by_side(p.kv_heads, p.n, p.d);
    if (request.op.name == "attention_rope_gradient") {
      tables_ = request.inputs.size() - 2;
      problem_.cos = table_of(request.inputs[tables_].layout);
      problem_.sin = table_of(request.inputs[tables_ + 1].layout);
    }
    packed_ = is_packed(problem_.forward) && problem_.forward.d <= most_flash_gradient_d &&
              has_packed_rows(problem_.out_steps) && has_packed_rows(problem_.grad_steps);
  }

  std::size_t scratch_bytes() const override { return statistics_bytes() + partial_bytes(); }

  void run(const void* const* inputs, void* output, void* scratch) const override {
    if (bytes_ == 0) return;
    const cudaStream_t stream = current_launch().stream;
    AttentionGradientProblem g = problem_;
    AttentionProblem& p = g.forward;
    if (p.n == 0 || p.batch * p.heads * p.m * p.d == 0)
      return check(cudaMemsetAsync(output, 0, bytes_, stream), "the gradient of attention to nothing");
    options_.bind(p, inputs);
    g.out = inputs[3];
    g.grad = inputs[4];
    if (tables_ != 0) {
      g.cos.data = static_cast<const float*>(inputs[tables_]);
      g.sin.data = static_cast<const float*>(inputs[tables_ + 1]);
    }
    const std::int64_t element = static_cast<std::int64_t>(size_of(p.dtype));
    const std::int64_t keys = p.batch * p.kv_heads * p.n * p.d;
    g.q_gradient = output;
    g.k_gradient = static_cast<std::byte*>(output) + p.batch * p.heads * p.m * p.d * element;
    g.v_gradient = static_cast<std::byte*>(g.k_gradient) + keys * element;
    g.statistics = scratch;
    g.partial = reinterpret_cast<float*>(static_cast<std::byte*>(scratch) + statistics_bytes());
    if (packed_ && is_aligned(p) && is_aligned(g.out) && is_aligned(g.grad))
      launch_flash_attention_gradient(g, stream);
    else
      launch_plain_attention_gradient(g, stream);
  }

 private:
  std::size_t statistics_bytes() const {
    const AttentionProblem& p = problem_.forward;
    const std::size_t number = p.dtype == DType::f64 ? sizeof(double) : sizeof(float);
    return (static_cast<std::size_t>(3 * p.batch * p.heads * p.m) * number + 63) / 64 * 64;
  }
  std::size_t partial_bytes() const {
    const AttentionProblem& p = problem_.forward;
    const std::int64_t parts = packed_ ? flash_gradient_parts(p) : 1;
    if (parts == 1) return 0;
    return static_cast<std::size_t>(2 * parts * p.batch * p.kv_heads * p.n * p.d) * sizeof(float);
  }

  AttentionGradientProblem problem_{};
  Options options_;
  std::size_t tables_ = 0;  ///< where cos is among the inputs; 0: there is none
  std::size_t bytes_;
  bool packed_ = false;
};

bool supports(const KernelRequest& request) { return request.inputs[0].shape()[3] <= most_attention_d; }
bool supports_rotated(const KernelRequest& request) {
  return supports(request) && request.output.dtype != DType::f64;
}

std::unique_ptr<Kernel> prepare_gradient(const KernelRequest& request) {
  return std::make_unique<AttentionGradientKernel>(request);
}

constexpr KernelEntry entries[] = {
    {.op = "attention",
     .prepare = [](const KernelRequest& request) -> std::unique_ptr<Kernel> {
       return std::make_unique<AttentionKernel>(request);
     },
     .layouts = InputLayouts::strided,
     .supports = supports,
     .any_row_order = true},
    {.op = "attention_gradient",
     .prepare = prepare_gradient,
     .layouts = InputLayouts::strided,
     .supports = supports},
    {.op = "attention_rope_gradient",
     .prepare = prepare_gradient,
     .layouts = InputLayouts::strided,
     .supports = supports_rotated},
};

}  // namespace

namespace kernels {
Entries attention() { return entries; }
}  // namespace kernels

}  // namespace wick::cuda
