#pragma once

#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "wick/tensor.h"

namespace wick {

/// Records the gradients of the scalar `loss` with respect to each of `params` (reverse mode: each op
/// contributes its vector-Jacobian product). The results have the shapes and dtypes of `params`; a parameter
/// that the loss does not depend on gets zeros. Nothing is computed until the gradients are evaluated, best
/// together with the loss. Throws ShapeError when `loss` is not a scalar of a floating dtype, ArgumentError
/// when a parameter is not floating or an op on the way has no gradient.
///
/// Plain ops that mean a composite (docs/lazy-evaluation.md lists those that `recognize` finds) contribute
/// the composite's product, unless a parameter, or a value that was evaluated already, lies between them.
std::vector<Tensor> grad(const Tensor& loss, std::span<const Tensor> params,
                         SourceLocation where = SourceLocation::current());
std::vector<Tensor> grad(const Tensor& loss, const std::vector<Tensor>& params,
                         SourceLocation where = SourceLocation::current());

using LossFunction = std::function<Tensor(std::span<const Tensor> params)>;

/// A function that returns {loss, gradients} of `f` at given parameters.
std::function<std::pair<Tensor, std::vector<Tensor>>(std::span<const Tensor>)> value_and_grad(LossFunction f);

/// f(inputs), recorded so that the backward computes the ops of `f` again instead of keeping their results
/// (gradient checkpointing, Chen et al. 2016): of the segment only `inputs` and the result stay until then.
/// Values and gradients are those of `f(inputs)`, bit for bit where no tensor is used both inside and outside
/// of the segment (else its gradient is the same sum in another order).
///
/// `f` is called once, now. It may use other tensors too: data (parameters) get their gradients as usual;
/// what was computed from `inputs` elsewhere, or is to be kept, is to be given as an input. What does not
/// depend on `inputs` is not computed again. Segments may hold segments. Throws ArgumentError for an empty
/// tensor.
Tensor checkpoint(const std::function<Tensor(std::span<const Tensor>)>& f, std::span<const Tensor> inputs,
                  SourceLocation where = SourceLocation::current());
Tensor checkpoint(const std::function<Tensor(std::span<const Tensor>)>& f, const std::vector<Tensor>& inputs,
                  SourceLocation where = SourceLocation::current());

}  // namespace wick
