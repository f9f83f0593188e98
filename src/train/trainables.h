#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "wick/lora.h"
#include "wick/model.h"

namespace wick {

/// What a run trains: the factors of an adapter, or every parameter of a model. Refers to both, which must
/// outlive it.
class Trainables {
 public:
  /// `adapter` null: all of the model. Throws ConfigError when they are not f32.
  Trainables(Model& model, LoraAdapter* adapter);

  const std::vector<std::string>& names() const noexcept { return names_; }
  std::vector<Tensor> values() const;
  /// In the order of `names`.
  void set(const std::vector<Tensor>& values);

  /// Writes a PEFT directory, or config.json and model.safetensors.
  void save(const std::filesystem::path& directory) const;
  /// Takes the values from what `save` wrote. Throws FormatError that names what is missing or does not fit;
  /// then nothing changed.
  void restore(const std::filesystem::path& directory);

 private:
  Model& model_;
  LoraAdapter* adapter_;
  std::vector<std::string> names_;
};

/// Named f32 tensors in one safetensors file.
void write_tensors(const std::filesystem::path& file, const std::vector<std::string>& names,
                   const std::vector<Tensor>& values);
/// Reads them back, in the order of `names`, with the shapes and on the
/// devices of `like`. Throws FormatError.
std::vector<Tensor> read_tensors(const std::filesystem::path& file, const std::vector<std::string>& names,
                                 const std::vector<Tensor>& like);

}  // namespace wick
