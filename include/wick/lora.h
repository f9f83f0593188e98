#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "wick/lora_config.h"
#include "wick/low_rank.h"
#include "wick/tensor.h"

namespace wick {

class Model;

/// A LoRA adapter (Hu et al. 2021, https://arxiv.org/abs/2106.09685): layers by module name, and the
/// configuration.
class LoraAdapter final : public LowRankLayers {
 public:
  /// A fresh adapter for `model`: A kaiming-uniform (a = sqrt(5), that is, uniform in +-1/sqrt(in)), B zero,
  /// as PEFT initialises them. On the model's device. Throws AdapterError when the configuration names no
  /// layer of the model.
  static LoraAdapter create(const Model& model, const LoraConfig& config, std::uint64_t seed);
  /// Reads a PEFT directory (adapter_config.json, adapter_model.safetensors). Refused whole, with every
  /// mismatch listed (AdapterError), when it does not fit the model. On the model's device.
  static LoraAdapter load(const std::filesystem::path& directory, const Model& model);
  /// Writes a PEFT directory; atomic, file by file.
  void save(const std::filesystem::path& directory) const;

  const LoraConfig& config() const noexcept { return config_; }
  const std::map<std::string, LoraLayer>& layers() const noexcept { return layers_; }
  const LoraLayer* find(const std::string& module) const override;
  double dropout() const override { return config_.dropout; }

  /// Trainable tensors, named as in the PEFT file ("base_model.model.<module>.lora_A.weight"), in a fixed
  /// order.
  std::vector<std::pair<std::string, Tensor>> parameters() const;
  /// Replaces a parameter. Throws ArgumentError for an unknown name or another shape.
  void set_parameter(const std::string& name, Tensor value);

 private:
  LoraConfig config_;
  std::map<std::string, LoraLayer> layers_;
};

/// Adds an adapter's scale B A to the weights that it names, in f32, rounded once to the weights' dtype. The
/// result differs from the unmerged model by that rounding.
void merge(Model& model, const LoraAdapter& adapter);
/// Takes it away again; in f32 up to rounding the inverse of `merge`.
void unmerge(Model& model, const LoraAdapter& adapter);

/// Adapters of one base model by name; switching touches no weight of the base. Not thread-safe.
class AdapterRegistry {
 public:
  explicit AdapterRegistry(const Model& model) : model_(&model) {}

  /// Loads a PEFT directory under `name`. Throws ArgumentError for a name in use, AdapterError for what does
  /// not fit; then nothing changed.
  void load(const std::string& name, const std::filesystem::path& directory);
  void add(const std::string& name, LoraAdapter adapter);
  /// Throws ArgumentError that lists the names for an unknown one.
  void remove(const std::string& name);
  const LoraAdapter& at(const std::string& name) const;
  /// Makes `name` the active adapter; "" means the base alone.
  void activate(const std::string& name);
  /// The active adapter, or null.
  const LoraAdapter* active() const;
  std::vector<std::string> names() const;

 private:
  const Model* model_;
  std::map<std::string, LoraAdapter> adapters_;
  std::string active_;
};

}  // namespace wick
