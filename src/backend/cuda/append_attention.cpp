#include "ops/append_attention.h"

#include <limits>

#include "backend/cuda/append_attention.h"
#include "backend/cuda/gpu.h"
#include "backend/cuda/kernels.h"
#include "backend/cuda/launch.h"
#include "backend/cuda/strided_copy.h"
#include "ops/attributes.h"

namespace wick::cuda {
namespace {

using In = AppendAttentionInputs;

/// Along dimension `axis`; 0 where there is one of it.
std::int64_t step_of(const Layout& layout, int axis) {
  return layout.shape[axis] > 1 ? layout.strides[static_cast<std::size_t>(axis)] : 0;
}
AttentionSteps steps_of(const Layout& layout) {
  return {step_of(layout, 0), step_of(layout, 1), step_of(layout, 2), step_of(layout, 3)};
}

class AppendAttentionKernel final : public Kernel {
 public:
  explicit AppendAttentionKernel(const KernelRequest& request)
      : whole_k_(copy_of(request, In::k_cache)), whole_v_(copy_of(request, In::v_cache)) {
    const auto options = request.attrs.as<AttentionAttrs>();
    const Shape& cache = request.inputs[In::k_cache].shape();
    AttentionProblem& a = problem_.attention;
    a.dtype = request.output.dtype;
    a.batch = cache[0];
    a.heads = request.output.shape()[1];
    a.kv_heads = cache[1];
    a.m = 1;
    a.n = cache[2];
    a.d = cache[3];
    a.scale = options.scale;
    a.causal = true;
    a.window = options.window;
    a.q_steps = steps_of(request.inputs[In::q].layout);
    problem_.k_steps = steps_of(request.inputs[In::k].layout);
    problem_.v_steps = steps_of(request.inputs[In::v].layout);
    problem_.cos_steps = table_steps(request.inputs[In::cos].layout);
    problem_.sin_steps = table_steps(request.inputs[In::sin].layout);
  }

  void run(const void* const*, void*, void*) const override {}  // it has several results
  void run_results(const void* const* inputs, void* const* outputs, void* /*scratch*/) const override {
    if (outputs[1] != inputs[In::k_cache]) whole_k_.launch(inputs[In::k_cache], outputs[1]);
    if (outputs[2] != inputs[In::v_cache]) whole_v_.launch(inputs[In::v_cache], outputs[2]);
    AppendedAttention p = problem_;
    p.attention.q = inputs[In::q];
    p.attention.offset = static_cast<const long long*>(inputs[In::position]);
    p.attention.out = outputs[0];
    p.k = inputs[In::k];
    p.v = inputs[In::v];
    p.cos = static_cast<const float*>(inputs[In::cos]);
    p.sin = static_cast<const float*>(inputs[In::sin]);
    p.k_cache = outputs[1];
    p.v_cache = outputs[2];
    launch_appended_attention(p, current_launch().stream);
  }

 private:
  static StridedCopy copy_of(const KernelRequest& request, std::size_t input) {
    const Layout& from = request.inputs[input].layout;
    return {from.shape, request.output.dtype, from.strides, Layout::contiguous(from.shape).strides};
  }
  static RotationSteps table_steps(const Layout& table) { return {step_of(table, 0), step_of(table, 2)}; }

  StridedCopy whole_k_;
  StridedCopy whole_v_;
  AppendedAttention problem_{};
};

bool supports(const KernelRequest& request) {
  const DType dtype = request.output.dtype;
  const Shape& q = request.output.shape();
  const Shape& cache = request.inputs[In::k_cache].shape();
  return runs_code_for_90() && (dtype == DType::bf16 || dtype == DType::f16) && q.elements() > 0 &&
         cache.elements() > 0 && cache[2] * cache[3] <= std::numeric_limits<int>::max() && q[3] % 8 == 0 &&
         q[3] <= most_decode_d && q[1] / cache[1] <= most_decode_rows;
}

constexpr KernelEntry entries[] = {
    {.op = "append_attention",
     .prepare = [](const KernelRequest& request) -> std::unique_ptr<Kernel> {
       return std::make_unique<AppendAttentionKernel>(request);
     },
     .layouts = InputLayouts::strided,
     .in_place = true,
     .supports = supports},
};

}  // namespace

kernels::Entries kernels::append_attention() { return entries; }

}  // namespace wick::cuda
