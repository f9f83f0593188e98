#pragma once

#include <cstdint>
#include <string>

#include "wick/tensor.h"

namespace wick {

/// A linear layer of a model that an adapter can name.
struct LinearModule {
  std::string name;
  std::int64_t in = 0;
  std::int64_t out = 0;
};

/// The low-rank factors of one layer: adds scale ((x A^T) B^T).
struct LoraLayer {
  Tensor a;  ///< [rank, in], f32
  Tensor b;  ///< [out, rank], f32
  double scale = 1;
};

/// Low-rank layers by the module that they are added to: what a model needs to know of an adapter.
class LowRankLayers {
 public:
  virtual ~LowRankLayers() = default;
  /// The layer of a module, or null.
  virtual const LoraLayer* find(const std::string& module) const = 0;
  /// Probability with which training drops inputs of the low-rank layers.
  virtual double dropout() const = 0;

 protected:
  LowRankLayers() = default;
  LowRankLayers(const LowRankLayers&) = default;
  LowRankLayers(LowRankLayers&&) = default;
  LowRankLayers& operator=(const LowRankLayers&) = default;
  LowRankLayers& operator=(LowRankLayers&&) = default;
};

}  // namespace wick
