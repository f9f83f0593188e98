#include "train/trainables.h"

#include <fmt/format.h>

#include "wick/error.h"
#include "wick/safetensors.h"

namespace wick {

Trainables::Trainables(Model& model, LoraAdapter* adapter) : model_(model), adapter_(adapter) {
  if (adapter_) {
    for (const auto& [name, value] : adapter_->parameters()) names_.push_back(name);
  } else {
    for (const auto& [name, value] : model_.parameters()) names_.push_back(name);
  }
  for (const Tensor& value : values())
    if (value.dtype() != DType::f32)
      throw ConfigError(fmt::format("training updates f32 values, but {} is {}: load it as f32{}",
                                    adapter_ ? "the adapter" : "the model", name_of(value.dtype()),
                                    adapter_ ? "" : " (it can be saved in another dtype afterwards)"));
}

std::vector<Tensor> Trainables::values() const {
  std::vector<Tensor> values;
  values.reserve(names_.size());
  if (adapter_) {
    for (const auto& [name, value] : adapter_->parameters()) values.push_back(value);
  } else {
    for (const auto& [name, value] : model_.parameters()) values.push_back(value);
  }
  return values;
}

void Trainables::set(const std::vector<Tensor>& values) {
  for (std::size_t i = 0; i < names_.size(); ++i) {
    if (adapter_)
      adapter_->set_parameter(names_[i], values.at(i));
    else
      model_.set_parameter(names_[i], values.at(i));
  }
}

void Trainables::save(const std::filesystem::path& directory) const {
  if (adapter_)
    adapter_->save(directory);
  else
    model_.save(directory);
}

void Trainables::restore(const std::filesystem::path& directory) {
  set(read_tensors(directory / (adapter_ ? "adapter_model.safetensors" : "model.safetensors"), names_,
                   values()));
}

void write_tensors(const std::filesystem::path& file, const std::vector<std::string>& names,
                   const std::vector<Tensor>& values) {
  std::vector<std::vector<std::byte>> bytes;
  std::vector<TensorToWrite> tensors;
  for (std::size_t i = 0; i < names.size(); ++i) {
    bytes.emplace_back(values.at(i).bytes());
    values[i].copy_bytes(bytes.back());
    tensors.push_back({names[i], values[i].dtype(), values[i].shape(), bytes.back()});
  }
  write_safetensors(file, tensors);
}

std::vector<Tensor> read_tensors(const std::filesystem::path& file, const std::vector<std::string>& names,
                                 const std::vector<Tensor>& like) {
  const Safetensors stored = Safetensors::open(file);
  std::vector<Tensor> values;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const TensorInfo& info = stored.at(names[i]);
    if (info.dtype != like.at(i).dtype() || !(info.shape == like[i].shape()))
      throw FormatError(fmt::format("{}: {} is {}{}, this run needs {}", file.string(), names[i],
                                    name_of(info.dtype), info.shape.str(), like[i].str()));
    values.push_back(Tensor::from_bytes(info.bytes, info.shape, info.dtype).to(like[i].device()));
  }
  return values;
}

}  // namespace wick
