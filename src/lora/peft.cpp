#include <fmt/format.h>

#include <cmath>

#include "io/atomic_file.h"
#include "lora/peft_keys.h"
#include "wick/error.h"
#include "wick/lora.h"
#include "wick/model.h"
#include "wick/ops.h"
#include "wick/safetensors.h"

// PEFT's adapter directories: adapter_config.json and adapter_model.safetensors.
namespace wick {
namespace {

constexpr const char* config_file = "adapter_config.json";
constexpr const char* weights_file = "adapter_model.safetensors";

/// A tensor of the file as f32, or a problem.
Tensor read_factor(const Safetensors& file, const std::string& key, const Shape& shape,
                   std::vector<std::string>& problems) {
  const TensorInfo* info = file.find(key);
  if (!info) {
    problems.push_back(fmt::format("missing: {} {}", key, shape.str()));
    return {};
  }
  if (!(info->shape == shape)) {
    problems.push_back(fmt::format("{}: the file has {}, the model and adapter_config.json mean {}", key,
                                   info->shape.str(), shape.str()));
    return {};
  }
  if (!is_floating(info->dtype)) {
    problems.push_back(fmt::format("{}: {} is not a floating-point dtype", key, name_of(info->dtype)));
    return {};
  }
  const Tensor stored = Tensor::from_bytes(info->bytes, info->shape, info->dtype);
  return info->dtype == DType::f32 ? stored : cast(stored, DType::f32).detach();
}

}  // namespace

LoraAdapter LoraAdapter::load(const std::filesystem::path& directory, const Model& model) {
  if (!std::filesystem::exists(directory / weights_file)) {
    if (std::filesystem::exists(directory / "adapter_model.bin"))
      throw AdapterError(fmt::format(
          "{} holds a pickle (adapter_model.bin); save the adapter as safetensors (PEFT's default) instead",
          directory.string()));
    throw AdapterError(
        fmt::format("{} is no adapter directory: it has no {}", directory.string(), weights_file));
  }
  LoraAdapter adapter;
  adapter.config_ = LoraConfig::from_file(directory / config_file);
  const Safetensors file = Safetensors::open(directory / weights_file);

  std::vector<std::string> problems;
  for (const LinearModule& module : model.linear_modules()) {
    if (!adapter.config_.targets(module.name)) continue;
    const std::int64_t rank = adapter.config_.rank_for(module.name);
    LoraLayer layer;
    layer.scale = adapter.config_.scale_for(module.name);
    if (!std::isfinite(layer.scale))
      problems.push_back(fmt::format("{}: the scale is not finite", module.name));
    layer.a = read_factor(file, peft_key(module.name, 'A'), {rank, module.in}, problems);
    layer.b = read_factor(file, peft_key(module.name, 'B'), {module.out, rank}, problems);
    adapter.layers_[module.name] = layer;
  }
  for (const TensorInfo& info : file.tensors()) {
    bool known = false;
    for (const auto& [name, layer] : adapter.layers_)
      known = known || info.name == peft_key(name, 'A') || info.name == peft_key(name, 'B');
    if (!known) problems.emplace_back(fmt::format("left over: {} {}", info.name, info.shape.str()));
  }
  if (adapter.layers_.empty()) problems.emplace_back("target_modules names no linear layer of the model");
  if (!problems.empty()) {
    std::string text = fmt::format("the adapter {} does not fit the model:", directory.string());
    for (const std::string& p : problems) text += "\n  " + p;
    throw AdapterError(text);
  }
  for (auto& [name, layer] : adapter.layers_) {
    layer.a = layer.a.to(model.device());
    layer.b = layer.b.to(model.device());
  }
  return adapter;
}

void LoraAdapter::save(const std::filesystem::path& directory) const {
  std::filesystem::create_directories(directory);
  std::vector<std::vector<std::byte>> bytes;
  std::vector<TensorToWrite> tensors;
  const auto list = parameters();
  bytes.reserve(list.size());
  for (const auto& [name, value] : list) {
    bytes.emplace_back(value.bytes());
    value.copy_bytes(bytes.back());
    tensors.push_back({name, value.dtype(), value.shape(), bytes.back()});
  }
  write_safetensors(directory / weights_file, tensors);
  write_file_atomically(directory / config_file, config_.to_json());
}

}  // namespace wick
