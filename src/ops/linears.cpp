#include "ops/linears.h"

#include "ops/linear_shapes.h"

namespace wick {
namespace {

std::vector<LayerInputs> layers(InputSpecs in) {
  return layers_of(in.size(), [&](std::size_t i) { return in[i].shape.rank(); });
}

Spec infer_layer(InputSpecs in, const LayerInputs& layer) {
  return infer_linear(in[0], in[layer.weight], in.subspan(layer.weight + 1, layer.has_bias ? 1 : 0));
}

Spec infer(InputSpecs in, const Attrs&) { return infer_layer(in, layers(in).front()); }

std::vector<Spec> infer_all(InputSpecs in, const Attrs&) {
  std::vector<Spec> results;
  for (const LayerInputs& layer : layers(in)) results.push_back(infer_layer(in, layer));
  return results;
}

double flops(InputSpecs in, const Spec&, const Attrs&) {
  double total = 0;
  for (const LayerInputs& layer : layers(in)) total += linear_flops(in[0], in[layer.weight], layer.has_bias);
  return total;
}

}  // namespace

std::vector<LayerInputs> layers_of(std::size_t inputs, const std::function<int(std::size_t)>& rank_of) {
  std::vector<LayerInputs> found;
  for (std::size_t i = 1; i < inputs; ++i) {
    if (rank_of(i) == 1)
      found.back().has_bias = true;
    else
      found.push_back({i, false});
  }
  return found;
}

const Op& linears_op() {
  static constexpr Op op{.name = "linears", .infer = infer, .flops = flops, .infer_all = infer_all};
  return op;
}

}  // namespace wick
