#pragma once

#include <functional>
#include <vector>

#include "graph/op.h"

namespace wick {

/// Several linear layers of one x, as one step that passes make where a backend has a kernel: inputs are x
/// and each layer's weight and bias, if it has one; results are those of `linear`, in order.
const Op& linears_op();

/// One layer's inputs among those of the op.
struct LayerInputs {
  std::size_t weight;
  bool has_bias;  ///< behind the weight
};
/// `rank_of` tells the rank of an input, by which biases are known.
std::vector<LayerInputs> layers_of(std::size_t inputs, const std::function<int(std::size_t)>& rank_of);

}  // namespace wick
