#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "lora/peft_keys.h"
#include "wick/error.h"
#include "wick/eval.h"
#include "wick/lora.h"
#include "wick/model.h"
#include "wick/ops.h"

namespace wick {

LoraAdapter LoraAdapter::create(const Model& model, const LoraConfig& config, std::uint64_t seed) {
  LoraAdapter adapter;
  adapter.config_ = config;
  std::vector<Tensor> all;
  std::uint64_t stream = 0;
  for (const LinearModule& module : model.linear_modules()) {
    ++stream;
    if (!config.targets(module.name)) continue;
    const std::int64_t rank = config.rank_for(module.name);
    if (rank < 1 || rank > std::min(module.in, module.out))
      throw AdapterError(fmt::format("rank {} does not fit {} ({} x {}); it must be between 1 and {}", rank,
                                     module.name, module.out, module.in, std::min(module.in, module.out)));
    const double bound = 1.0 / std::sqrt(static_cast<double>(module.in));
    LoraLayer layer;
    layer.a = random_uniform(random_key(seed, stream), {rank, module.in}) * (2 * bound) - bound;
    // Data of its own, so that an optimizer can update it in place.
    layer.b =
        Tensor::from(std::vector<float>(static_cast<std::size_t>(module.out * rank)), {module.out, rank});
    layer.scale = config.scale_for(module.name);
    all.push_back(layer.a);
    adapter.layers_[module.name] = layer;
  }
  if (adapter.layers_.empty()) {
    std::string names;
    for (const LinearModule& module : model.linear_modules())
      if (module.name.starts_with("model.layers.0.")) names += "\n  " + module.name;
    throw AdapterError("target_modules names no linear layer of the model; layer 0 has:" + names);
  }
  eval(all, History::drop);
  for (auto& [name, layer] : adapter.layers_) {
    layer.a = layer.a.to(model.device());
    layer.b = layer.b.to(model.device());
  }
  return adapter;
}

const LoraLayer* LoraAdapter::find(const std::string& module) const {
  const auto it = layers_.find(module);
  return it == layers_.end() ? nullptr : &it->second;
}

std::vector<std::pair<std::string, Tensor>> LoraAdapter::parameters() const {
  std::vector<std::pair<std::string, Tensor>> list;
  for (const auto& [module, layer] : layers_) {
    list.emplace_back(peft_key(module, 'A'), layer.a);
    list.emplace_back(peft_key(module, 'B'), layer.b);
  }
  return list;
}

void LoraAdapter::set_parameter(const std::string& name, Tensor value) {
  for (auto& [module, layer] : layers_) {
    for (Tensor* factor : {&layer.a, &layer.b}) {
      if (name != peft_key(module, factor == &layer.a ? 'A' : 'B')) continue;
      if (!(factor->shape() == value.shape()))
        throw ArgumentError(fmt::format("{} is {}, it cannot become {}", name, factor->str(), value.str()));
      *factor = std::move(value);
      return;
    }
  }
  throw ArgumentError(fmt::format("the adapter has no parameter \"{}\"", name));
}

}  // namespace wick
