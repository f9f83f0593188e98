#pragma once

#include "wick/tensor.h"

namespace wick {

/// Matrix product of the last two dimensions, the others broadcast: [..., M, K] x [..., K, N] -> [..., M, N].
/// A rank-1 operand is a row (left) or column (right) vector whose dimension is removed again. Dtypes
/// promote; bf16 and f16 accumulate in f32. Transposed views are read in place. ShapeError when the inner
/// sizes differ.
Tensor matmul(const Tensor& a, const Tensor& b, SourceLocation where = SourceLocation::current());

/// x W^T (+ bias): x [..., in], weight [out, in] (PyTorch's layout), bias [out] or empty -> [..., out].
/// The result has x's dtype; a weight of another floating dtype is read as it is stored.
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias = {},
              SourceLocation where = SourceLocation::current());

/// x W^T + bias + scale ((x A^T) B^T) (LoRA, Hu et al. 2021, https://arxiv.org/abs/2106.09685):
/// x [..., in], weight [out, in], bias [out] or empty, a [r, in], b [out, r] -> [..., out] in x's dtype.
Tensor lora_linear(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& a,
                   const Tensor& b, double scale, SourceLocation where = SourceLocation::current());

/// scale ((x A^T) B^T), the part of lora_linear that its factors add: x [..., in], a [r, in], b [out, r]
/// -> [..., out] in x's dtype, which the factors are read in.
Tensor low_rank(const Tensor& x, const Tensor& a, const Tensor& b, double scale,
                SourceLocation where = SourceLocation::current());

}  // namespace wick
