#include "ops/linears.h"

#include <algorithm>
#include <optional>

#include "backend/cpu/amx_matmul.h"
#include "backend/cpu/float_convert.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/layer_products.h"
#include "backend/cpu/weight_product.h"

namespace wick {
namespace {

std::vector<LayerInputs> layers_in(const KernelRequest& request) {
  return layers_of(request.inputs.size(), [&](std::size_t i) { return request.inputs[i].shape().rank(); });
}

/// Layers of one x in bf16, each with its own packed weight.
class LinearsKernel final : public Kernel {
 public:
  explicit LinearsKernel(const KernelRequest& request) {
    const std::int64_t k = request.inputs[0].shape().dim(-1);
    const std::int64_t rows = rows_of(request);
    std::vector<const MatrixProduct*> products;
    for (const LayerInputs& inputs : layers_in(request)) {
      Layer layer{
          .inputs = inputs, .outputs = request.inputs[inputs.weight].shape()[0], .bias_at = bias_bytes_};
      ProductOptions options;
      if (inputs.has_bias) {
        layer.bias = request.inputs[inputs.weight + 1].dtype;
        options.bias = DType::f32;
        bias_bytes_ += padded(layer.outputs * static_cast<std::int64_t>(sizeof(float)));
      }
      WeightProduct product =
          WeightProduct::make(request, static_cast<std::uint32_t>(inputs.weight),
                              product_of(rows, layer.outputs, k, false), request.output.dtype, options);
      layer.product = require_product(std::move(product.product));
      packings_.insert(packings_.end(), product.packings.begin(), product.packings.end());
      products.push_back(layer.product.get());
      layers_.push_back(std::move(layer));
    }
    together_ = AmxSiblings::make(products);
  }

  std::size_t scratch_bytes() const override {
    std::size_t most = together_ ? together_->scratch_bytes() : 0;
    for (const Layer& layer : layers_) most = std::max(most, layer.product->scratch_bytes());
    return static_cast<std::size_t>(bias_bytes_) + most;
  }

  void run(const void* const*, void*, void*) const override {}  // it has several results

  void run_results(const void* const* inputs, void* const* outputs, void* scratch_memory) const override {
    auto* biases = static_cast<std::byte*>(scratch_memory);
    std::byte* scratch = biases + bias_bytes_;
    std::vector<AmxSiblings::Operands> operands;
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      const Layer& layer = layers_[i];
      const float* bias = nullptr;
      if (layer.bias) bias = wide_bias(layer, inputs[layer.inputs.weight + 1], biases + layer.bias_at);
      operands.push_back({inputs[layer.inputs.weight], bias, outputs[i]});
    }
    if (together_) return together_->run(inputs[0], operands, scratch);
    for (std::size_t i = 0; i < layers_.size(); ++i)
      layers_[i].product->run(inputs[0], operands[i].b, operands[i].bias, operands[i].c, scratch);
  }

  std::span<const Packing> packings() const override { return packings_; }
  void pack(const Packing& packing, const void* input, void* packed) const override {
    for (const Layer& layer : layers_)
      if (layer.inputs.weight == packing.input) layer.product->pack(input, packed);
  }

 private:
  struct Layer {
    LayerInputs inputs;
    std::int64_t outputs;
    std::int64_t bias_at;
    std::optional<DType> bias = {};
    std::unique_ptr<const MatrixProduct> product = {};
  };

  static const float* wide_bias(const Layer& layer, const void* bias, std::byte* scratch) {
    if (*layer.bias == DType::f32) return static_cast<const float*>(bias);
    auto* wide = reinterpret_cast<float*>(scratch);
    widen_row(*layer.bias, bias, wide, layer.outputs);
    return wide;
  }

  std::vector<Layer> layers_;
  std::int64_t bias_bytes_ = 0;
  std::vector<Packing> packings_;
  std::unique_ptr<const AmxSiblings> together_;  // null: one after the other
};

/// What AMX multiplies from packed weights. oneDNN's products gain nothing from standing together.
bool supports(const KernelRequest& request) {
  constexpr std::int64_t fewest_rows = 8;  // weights of fewer are not packed
  constexpr std::int64_t shortest_k = 256;
  const Slot& x = request.inputs[0];
  if (!AmxTiles::available() || x.dtype != DType::bf16 || x.shape().elements() == 0) return false;
  if (x.shape().dim(-1) < shortest_k || x.shape().without(-1).elements() < fewest_rows) return false;
  const std::vector<LayerInputs> layers = layers_in(request);
  return std::all_of(layers.begin(), layers.end(), [&](const LayerInputs& layer) {
    const Slot& weight = request.inputs[layer.weight];
    return weight.is_weight && weight.dtype == x.dtype && weight.shape().elements() > 0 &&
           (!layer.has_bias || request.inputs[layer.weight + 1].dtype != DType::f64);
  });
}

constexpr KernelEntry entries[] = {
    {.op = "linears",
     .prepare = [](const KernelRequest& request) -> std::unique_ptr<Kernel> {
       return std::make_unique<LinearsKernel>(request);
     },
     .supports = supports},
};

}  // namespace

namespace cpu_kernels {
Entries linears() { return entries; }
}  // namespace cpu_kernels

}  // namespace wick
