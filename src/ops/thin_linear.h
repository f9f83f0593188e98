#pragma once

#include <vector>

#include "graph/op.h"
#include "ops/attributes.h"

namespace wick {

/// Linear layers on the rows of one x, with the norm ahead of them and what comes behind.
struct ThinLinear {
  Tensor x;                          ///< [..., in]
  std::vector<Tensor> weights = {};  ///< [out_i, in]
  std::vector<Tensor> biases = {};   ///< [out_i], one a weight, or none at all
  Tensor norm = {};                  ///< [in], of an RMS norm of x, or empty
  double eps = 0;                    ///< of the norm
  bool gated = false;                ///< of two weights of one shape: swiglu(the first layer, the second)
  Tensor residual = {};              ///< of the result's shape, added to it, or empty
};

/// The inputs of the op in their order: x, weights, [biases,] [norm,] [residual].
template <typename T>
struct ThinLinearInputs {
  ThinLinearInputs(std::span<const T> inputs, const ThinLinearAttrs& attrs)
      : x(inputs[0]),
        weights(inputs.subspan(1, static_cast<std::size_t>(attrs.parts))),
        biases(inputs.subspan(1 + weights.size(), attrs.has_bias != 0 ? weights.size() : 0)),
        norm(attrs.has_norm != 0 ? &inputs[1 + weights.size() + biases.size()] : nullptr),
        residual(attrs.has_residual != 0 ? &inputs.back() : nullptr) {}
  const T& x;
  std::span<const T> weights;
  std::span<const T> biases;
  const T* norm;
  const T* residual;
};

/// The layers as one op, which passes make where a backend has a kernel for few rows: the results of the
/// layers one behind the other, [..., sum of out_i], or of gated ones [..., out]; in x's dtype. Kernels round
/// once, at the end. Throws ShapeError and DTypeError like linear, rms_norm and swiglu.
Tensor thin_linear(const ThinLinear& layers);
const Op& thin_linear_op();

}  // namespace wick
