#include "wick/model.h"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>

#include "backend/backend.h"
#include "core/allocate.h"
#include "core/buckets.h"
#include "graph/node.h"
#include "io/atomic_file.h"
#include "nn/decoder.h"
#include "nn/parameters.h"
#include "wick/error.h"
#include "wick/eval.h"
#include "wick/memory.h"
#include "wick/ops.h"
#include "wick/safetensors.h"

namespace wick {
namespace {

constexpr std::int64_t cache_bucket = 256;
constexpr std::size_t most_listed = 20;

/// Joins problems to one message, a line each.
std::string listed(const std::vector<std::string>& problems) {
  std::string text;
  for (std::size_t i = 0; i < problems.size() && i < most_listed; ++i) text += "\n  " + problems[i];
  if (problems.size() > most_listed) text += fmt::format("\n  and {} more", problems.size() - most_listed);
  return text;
}

/// Tensors that Hugging Face checkpoints may hold although the network has no such parameter.
bool may_be_left_over(const ModelConfig& config, const std::string& name) {
  return name.ends_with(".rotary_emb.inv_freq") || (config.tie_word_embeddings && name == "lm_head.weight");
}

/// A number in each element's own memory, as a file would bring it (`full` is a view of one number).
Tensor filled(const Shape& shape, float value) {
  return Tensor::from(std::vector<float>(static_cast<std::size_t>(shape.elements()), value), shape);
}

}  // namespace

struct Model::RopeTables {
  std::mutex mutex;
  std::map<std::int64_t, std::pair<Tensor, Tensor>> by_count;
};

namespace {

void mark_matrices(const std::map<std::string, Tensor>& parameters) {
  for (const auto& [name, value] : parameters)
    if (value.rank() == 2) mark_weight(value);
}

}  // namespace

Model::Model(const ModelConfig& config, DType dtype, Device device)
    : config_(config),
      dtype_(dtype),
      device_(device),
      modules_(linear_module_specs(config)),
      rope_tables_(std::make_shared<RopeTables>()) {}

Model Model::load(const std::filesystem::path& directory, std::optional<DType> dtype, Device device) {
  if (dtype && !is_floating(*dtype))
    throw ArgumentError(
        fmt::format("a model cannot be loaded as {}; choose f32, bf16 or f16", name_of(*dtype)));
  const ModelConfig config = ModelConfig::from_file(directory / "config.json");
  const Safetensors weights = open_model_weights(directory);
  const std::vector<ParameterSpec> specs = parameter_specs(config);

  std::vector<std::string> problems;
  std::map<std::string, const TensorInfo*> found;
  for (const ParameterSpec& spec : specs) {
    const TensorInfo* info = weights.find(spec.name);
    if (!info)
      problems.push_back(fmt::format("missing: {} {}", spec.name, spec.shape.str()));
    else if (!(info->shape == spec.shape))
      problems.push_back(fmt::format("{}: the file has {}, config.json means {}", spec.name,
                                     info->shape.str(), spec.shape.str()));
    else if (!is_floating(info->dtype))
      problems.push_back(
          fmt::format("{}: {} is not a floating-point dtype", spec.name, name_of(info->dtype)));
    else
      found[spec.name] = info;
  }
  for (const TensorInfo& info : weights.tensors())
    if (!found.contains(info.name) && !may_be_left_over(config, info.name)) {
      const bool known =
          std::any_of(specs.begin(), specs.end(), [&](const auto& s) { return s.name == info.name; });
      if (!known) problems.push_back(fmt::format("left over: {} {}", info.name, info.shape.str()));
    }
  if (!problems.empty())
    throw FormatError(
        fmt::format("{}: the weights do not fit config.json:{}", directory.string(), listed(problems)));

  Model model(config, dtype.value_or(found.at("model.embed_tokens.weight")->dtype), device);
  std::vector<Tensor> converted;
  for (const ParameterSpec& spec : specs) {
    const TensorInfo& info = *found.at(spec.name);
    Tensor value = Tensor::view_of(info.bytes, info.shape, info.dtype, info.owner);
    if (info.dtype != model.dtype_) converted.push_back(value = cast(value, model.dtype_));
    model.parameters_[spec.name] = value;
  }
  eval(converted, History::drop);
  for (auto& [name, value] : model.parameters_) value = value.to(device);
  mark_matrices(model.parameters_);
  return model;
}

Model Model::random(const ModelConfig& config, std::uint64_t seed, DType dtype, Device device) {
  Model model(config, dtype, device);
  std::vector<Tensor> all;
  std::uint64_t stream = 0;
  for (const ParameterSpec& spec : parameter_specs(config)) {
    Tensor value;
    switch (spec.kind) {
      case ParameterSpec::Kind::embedding:
      case ParameterSpec::Kind::linear:
        value = random_normal(random_key(seed, stream).to(device), spec.shape) * config.initializer_range;
        break;
      case ParameterSpec::Kind::bias: value = filled(spec.shape, 0); break;
      case ParameterSpec::Kind::norm: value = filled(spec.shape, 1); break;
    }
    ++stream;
    model.parameters_[spec.name] = cast(value, dtype);
    all.push_back(model.parameters_[spec.name]);
  }
  eval(all, History::drop);
  for (auto& [name, value] : model.parameters_) value = value.to(device);
  mark_matrices(model.parameters_);
  return model;
}

Model Model::blank(const ModelConfig& config, DType dtype, Device device) {
  Model model(config, dtype, device);
  for (const ParameterSpec& spec : parameter_specs(config)) {
    const std::size_t bytes = static_cast<std::size_t>(spec.shape.elements()) * size_of(dtype);
    auto storage = device == cpu ? reserve_host(bytes) : backend_for(device).allocate(bytes);
    model.parameters_[spec.name] =
        Tensor(Node::make_data({std::move(storage), Layout::contiguous(spec.shape), nullptr}, dtype, device));
  }
  return model;
}

const Tensor& Model::parameter(const std::string& name) const {
  const auto it = parameters_.find(name);
  if (it == parameters_.end()) throw ArgumentError(fmt::format("the model has no parameter \"{}\"", name));
  return it->second;
}

void Model::set_parameter(const std::string& name, Tensor value) {
  const Tensor& old = parameter(name);
  if (!(old.shape() == value.shape()))
    throw ArgumentError(fmt::format("parameter {} is {}, it cannot become {}", name, old.str(), value.str()));
  parameters_[name] = std::move(value);
}

std::pair<Tensor, Tensor> Model::rope_tables_for(std::int64_t count) const {
  std::lock_guard lock(rope_tables_->mutex);
  auto& tables = rope_tables_->by_count[count];
  if (!tables.first.defined()) {
    const auto [cos, sin] = rope_tables(config_, count);
    tables = {cos.to(device_), sin.to(device_)};
  }
  return tables;
}

const Tensor& Model::output_weight() const {
  return parameter(config_.tie_word_embeddings ? "model.embed_tokens.weight" : "lm_head.weight");
}

Tensor Model::hidden_states(const ModelInput& input) const { return Decoder(*this, input).hidden_states(); }

Tensor Model::forward(const ModelInput& input) const {
  Decoder decoder(*this, input);
  return decoder.logits(decoder.hidden_states());
}

KvCache Model::make_cache(std::int64_t batch, std::int64_t capacity) const {
  KvCache cache;
  cache.capacity = bucketed_length(std::max<std::int64_t>(1, capacity), cache_bucket);
  const Shape shape{batch, config_.kv_heads, cache.capacity, config_.head_dim};
  for (std::int64_t i = 0; i < config_.layers; ++i) {
    // Through a copy each: every layer's cache needs storage of its own.
    const std::vector<std::byte> empty(static_cast<std::size_t>(shape.elements()) * size_of(dtype_));
    cache.layers.push_back({Tensor::from_bytes(empty, shape, dtype_).to(device_),
                            Tensor::from_bytes(empty, shape, dtype_).to(device_)});
  }
  return cache;
}

void Model::save(const std::filesystem::path& directory, std::optional<DType> dtype) const {
  const DType stored = dtype.value_or(dtype_);
  std::vector<Tensor> values;
  for (const auto& [name, value] : parameters_)
    values.push_back(value.dtype() == stored ? value : cast(value, stored));
  eval(values);
  std::vector<std::vector<std::byte>> bytes;
  std::vector<TensorToWrite> tensors;
  bytes.reserve(values.size());
  std::size_t i = 0;
  for (const auto& [name, value] : parameters_) {
    bytes.emplace_back(values[i].bytes());
    values[i].copy_bytes(bytes.back());
    tensors.push_back({name, stored, value.shape(), bytes.back()});
    ++i;
  }
  ModelConfig config = config_;
  config.dtype = stored;
  std::filesystem::create_directories(directory);
  write_file_atomically(directory / "config.json", config.to_json() + "\n");
  write_safetensors(directory / "model.safetensors", tensors);
}

}  // namespace wick
