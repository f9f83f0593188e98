#include "ops/thin_linear.h"

#include <algorithm>
#include <limits>

#include "backend/cuda/gpu.h"
#include "backend/cuda/hopper/thin_linear.h"
#include "backend/cuda/kernels.h"
#include "backend/cuda/launch.h"
#include "backend/cuda/thin_linear.h"

namespace wick::cuda {
namespace {

bool is_aligned(const void* address) { return reinterpret_cast<std::uintptr_t>(address) % 16 == 0; }

class ThinLinearKernel final : public Kernel {
 public:
  explicit ThinLinearKernel(const KernelRequest& request)
      : dtype_(request.output.dtype), attrs_(request.attrs.as<ThinLinearAttrs>()) {
    const Slot& x = request.inputs[0];
    problem_.part_count = static_cast<int>(attrs_.parts);
    problem_.constant = true;
    for (std::size_t i = 0; i < static_cast<std::size_t>(attrs_.parts); ++i) {
      const Slot& weight = request.inputs[1 + i];
      problem_.parts[i].outputs = static_cast<int>(weight.shape()[0]);
      problem_.constant = problem_.constant && weight.is_weight;
    }
    problem_.depth = static_cast<int>(x.shape().dim(-1));
    problem_.rows = static_cast<int>(x.shape().without(-1).elements());
    problem_.outputs = static_cast<int>(request.output.shape().dim(-1));
    problem_.eps = static_cast<float>(attrs_.eps);
    problem_.gated = attrs_.gated != 0;
  }

  std::size_t scratch_bytes() const override {
    return problem_.rows > 1 && attrs_.has_norm != 0 ? thin_linear_tiles_scratch(problem_) : 0;
  }

  void run(const void* const* inputs, void* output, void* scratch) const override {
    const ThinLinearInputs<const void* const> in(std::span(inputs, count()), attrs_);
    ThinLinearProblem p = problem_;
    p.x = in.x;
    p.norm = in.norm ? *in.norm : nullptr;
    p.residual = in.residual ? *in.residual : nullptr;
    p.out = output;
    for (std::size_t i = 0; i < in.weights.size(); ++i) {
      p.parts[i].matrix = in.weights[i];
      p.parts[i].bias = in.biases.empty() ? nullptr : in.biases[i];
    }
    const bool aligned =
        p.depth % 8 == 0 && is_aligned(p.x) && is_aligned(p.norm) && is_aligned(scratch) &&
        std::all_of(in.weights.begin(), in.weights.end(), [](const void* w) { return is_aligned(w); });
    const cudaStream_t stream = current_launch().stream;
    if (!aligned)
      launch_thin_linear_plain(dtype_, p, stream);
    else if (hopper::streams_thin_linear(dtype_, p))
      hopper::launch_streamed_thin_linear(p, stream);
    else if (p.rows > 1)
      launch_thin_linear_tiles(dtype_, p, scratch, stream);
    else if (dtype_ != DType::bf16 || !launch_held_thin_linear(p, stream))
      launch_thin_linear_of_one(dtype_, p, stream);
  }

 private:
  std::size_t count() const {
    return static_cast<std::size_t>(1 + attrs_.parts * (1 + attrs_.has_bias) + attrs_.has_norm +
                                    attrs_.has_residual);
  }

  DType dtype_;
  ThinLinearAttrs attrs_;
  ThinLinearProblem problem_{};
};

bool supports(const KernelRequest& request) {
  const auto attrs = request.attrs.as<ThinLinearAttrs>();
  const DType dtype = request.output.dtype;
  const Shape& x = request.inputs[0].shape();
  const std::int64_t rows = x.without(-1).elements();
  if (!runs_code_for_90() || attrs.parts > ThinLinearProblem::most_parts) return false;
  if (dtype != DType::bf16 && dtype != DType::f16) return false;
  if (rows < 1 || rows > ThinLinearProblem::most_rows || x.dim(-1) < 1) return false;
  if (request.output.shape().elements() > std::numeric_limits<int>::max()) return false;
  return std::all_of(request.inputs.begin(), request.inputs.end(),
                     [&](const Slot& slot) { return slot.dtype == dtype && slot.shape().elements() > 0; });
}

constexpr KernelEntry entries[] = {
    {.op = "thin_linear",
     .prepare = [](const KernelRequest& request) -> std::unique_ptr<Kernel> {
       return std::make_unique<ThinLinearKernel>(request);
     },
     .supports = supports},
};

}  // namespace

kernels::Entries kernels::thin_linear() { return entries; }

}  // namespace wick::cuda
