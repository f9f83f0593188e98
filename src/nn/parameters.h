#pragma once

#include <string>
#include <vector>

#include "wick/low_rank.h"
#include "wick/model_config.h"
#include "wick/shape.h"

namespace wick {

/// A parameter that an architecture has.
struct ParameterSpec {
  enum class Kind { embedding, linear, bias, norm };
  std::string name;
  Shape shape;
  Kind kind;
};

/// All parameters of a decoder, in the order of the network.
std::vector<ParameterSpec> parameter_specs(const ModelConfig& config);
/// Its linear layers, likewise.
std::vector<LinearModule> linear_module_specs(const ModelConfig& config);

}  // namespace wick
