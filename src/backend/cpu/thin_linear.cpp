#include "ops/thin_linear.h"

#include <algorithm>

#include "backend/cpu/elementwise_tiles.h"
#include "backend/cpu/float_convert.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/matmul_rows.h"
#include "backend/cpu/norm_rows.h"
#include "backend/cpu/row_parallel.h"

namespace wick {
namespace {

/// sums[i] += addend[i].
void add_to(float* sums, DType dtype, const void* addend, std::int64_t count) {
  constexpr std::int64_t most = 64;
  float wide[most];
  const auto element = static_cast<std::int64_t>(size_of(dtype));
  for (std::int64_t i = 0; i < count; i += most) {
    const std::int64_t n = std::min(most, count - i);
    widen_row(dtype, static_cast<const std::byte*>(addend) + i * element, wide, n);
    for (std::int64_t j = 0; j < n; ++j) sums[i + j] += wide[j];
  }
}

/// Layers on one row of x. Their outputs are one range, which threads share; a row of each weight is read by
/// one of them, once. In f32 the result has the bits of the ops that it stands for.
class OneRowOfLayers final : public Kernel {
 public:
  explicit OneRowOfLayers(const KernelRequest& request)
      : attrs_(request.attrs.as<ThinLinearAttrs>()),
        dtype_(request.output.dtype),
        inputs_(request.inputs.size()),
        depth_(request.inputs[0].shape().dim(-1)),
        outputs_(request.output.shape().dim(-1)) {
    const ThinLinearInputs<Slot> in(request.inputs, attrs_);
    for (std::size_t i = 0; i < in.weights.size(); ++i) {
      Layer layer{.weight = in.weights[i].dtype, .begin = sums_, .outputs = in.weights[i].shape()[0]};
      if (!in.biases.empty()) layer.bias = in.biases[i].dtype;
      sums_ += layer.outputs;
      layers_.push_back(layer);
    }
    if (in.norm) norm_ = in.norm->dtype;
  }

  std::size_t scratch_bytes() const override {
    return static_cast<std::size_t>(2 * padded_floats(depth_) + sums_) * sizeof(float);
  }

  void run(const void* const* inputs, void* output, void* scratch) const override {
    const ThinLinearInputs<const void* const> in(std::span(inputs, inputs_), attrs_);
    auto* row = static_cast<float*>(scratch);
    float* sums = row + 2 * padded_floats(depth_);
    const float* x = dtype_ == DType::f32 ? static_cast<const float*>(in.x) : row;
    if (dtype_ != DType::f32) widen_row(dtype_, in.x, row, depth_);
    if (in.norm) {
      normalize(x, *in.norm, row);
      x = row;
    }
    const auto element = static_cast<std::int64_t>(size_of(dtype_));
    const std::int64_t rows_an_output = sums_ / outputs_;
    parallel_rows(outputs_, rows_an_output * depth_, [&](std::int64_t begin, std::int64_t end) {
      for (std::size_t i = 0; i < layers_.size(); ++i) {
        const std::int64_t first = attrs_.gated != 0 ? 0 : layers_[i].begin;
        multiply(layers_[i], in.weights[i], in.biases.empty() ? nullptr : in.biases[i], x,
                 std::max(begin - first, std::int64_t{0}), std::min(end - first, layers_[i].outputs), sums);
      }
      float* results = sums + begin;
      if (attrs_.gated != 0) gate(results, results + outputs_, end - begin);
      if (in.residual)
        add_to(results, dtype_, static_cast<const std::byte*>(*in.residual) + begin * element, end - begin);
      narrow_row(dtype_, results, static_cast<std::byte*>(output) + begin * element, end - begin);
    });
  }

 private:
  struct Layer {
    DType weight;
    std::optional<DType> bias = {};
    std::int64_t begin;  // of its sums
    std::int64_t outputs;
  };

  /// `row` has room for the norm's weight behind the result.
  void normalize(const float* x, const void* weight, float* row) const {
    const auto* wide = static_cast<const float*>(weight);
    if (*norm_ != DType::f32) {
      widen_row(*norm_, weight, row + padded_floats(depth_), depth_);
      wide = row + padded_floats(depth_);
    }
    run_norm_rows({DType::f32, x, nullptr, nullptr, row, 1, depth_, wide, nullptr, attrs_.eps}, NormOf::rms);
  }

  /// Outputs [begin, end) of a layer, none where end <= begin.
  void multiply(const Layer& layer, const void* weight, const void* bias, const float* x, std::int64_t begin,
                std::int64_t end, float* sums) const {
    if (begin >= end) return;
    const auto row_bytes = depth_ * static_cast<std::int64_t>(size_of(layer.weight));
    float* to = sums + layer.begin + begin;
    dot_rows(layer.weight, static_cast<const std::byte*>(weight) + begin * row_bytes, depth_, end - begin,
             depth_, x, nullptr, DType::f32, to);
    if (bias)
      add_to(to, *layer.bias,
             static_cast<const std::byte*>(bias) + begin * static_cast<std::int64_t>(size_of(*layer.bias)),
             end - begin);
  }

  /// gates = silu(gates) ups.
  void gate(float* gates, const float* ups, std::int64_t count) const {
    silu_(gates, gates, gates, gates, static_cast<std::size_t>(count));
    mul_(gates, ups, gates, gates, static_cast<std::size_t>(count));
  }

  ThinLinearAttrs attrs_;
  DType dtype_;
  std::size_t inputs_;
  std::int64_t depth_;
  std::int64_t outputs_;
  std::int64_t sums_ = 0;  // of all layers
  std::vector<Layer> layers_;
  std::optional<DType> norm_;
  TileFunction silu_ = find_tile("silu", DType::f32);
  TileFunction mul_ = find_tile("mul", DType::f32);
};

/// One row, and more to do than `linear` does.
bool supports(const KernelRequest& request) {
  const auto attrs = request.attrs.as<ThinLinearAttrs>();
  const DType dtype = request.output.dtype;
  const ThinLinearInputs<Slot> in(request.inputs, attrs);
  const bool is_more = attrs.parts > 1 || in.norm || in.residual;
  const auto fits = [&](const Slot& slot) { return slot.dtype != DType::f64 && slot.shape().elements() > 0; };
  const auto fits_weight = [&](const Slot& weight) { return weight.dtype == dtype || dtype == DType::f32; };
  return is_more && in.x.shape().elements() == in.x.shape().dim(-1) &&
         std::all_of(request.inputs.begin(), request.inputs.end(), fits) &&
         std::all_of(in.weights.begin(), in.weights.end(), fits_weight);
}

constexpr KernelEntry entries[] = {
    {.op = "thin_linear",
     .prepare = [](const KernelRequest& request) -> std::unique_ptr<Kernel> {
       return std::make_unique<OneRowOfLayers>(request);
     },
     .supports = supports},
};

}  // namespace

namespace cpu_kernels {
Entries thin_linear() { return entries; }
}  // namespace cpu_kernels

}  // namespace wick
