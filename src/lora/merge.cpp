#include "wick/error.h"
#include "wick/eval.h"
#include "wick/lora.h"
#include "wick/model.h"
#include "wick/ops.h"

namespace wick {
namespace {

void add_to_weights(Model& model, const LoraAdapter& adapter, double sign) {
  std::vector<std::pair<std::string, Tensor>> merged;
  std::vector<Tensor> all;
  for (const auto& [module, layer] : adapter.layers()) {
    const bool tied_head = module == "lm_head" && model.config().tie_word_embeddings;
    if (tied_head)
      throw AdapterError(
          "an adapter on lm_head cannot be merged into a model whose head is tied to the embeddings");
    const std::string name = module + ".weight";
    const Tensor& weight = model.parameter(name);
    const Tensor delta = matmul(layer.b, layer.a) * (sign * layer.scale);
    merged.emplace_back(name, cast(cast(weight, DType::f32) + delta, weight.dtype()));
    all.push_back(merged.back().second);
  }
  eval(all);
  for (auto& [name, value] : merged) model.set_parameter(name, value.detach());
}

}  // namespace

void merge(Model& model, const LoraAdapter& adapter) { add_to_weights(model, adapter, 1); }
void unmerge(Model& model, const LoraAdapter& adapter) { add_to_weights(model, adapter, -1); }

}  // namespace wick
