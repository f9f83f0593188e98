#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "wick/tensor.h"

namespace wick {

/// AdamW with decoupled weight decay and bias correction (Loshchilov and Hutter 2017,
/// https://arxiv.org/abs/1711.05101), as torch.optim.AdamW computes it:
/// p <- p (1 - lr wd); m <- b1 m + (1 - b1) g; v <- b2 v + (1 - b2) g^2;
/// p <- p - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps).
struct AdamWOptions {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0.01;
};

/// Optimizer state of a list of parameters, f32, in the parameters' order.
class AdamW {
 public:
  AdamW(AdamWOptions options, const std::vector<Tensor>& parameters);

  /// Records one step: the new parameters, and new moments inside. Where `proceed` (a rank-0 bool tensor) is
  /// false, parameters and moments keep their values. Evaluate `pending()` and the results together, with
  /// History::drop.
  std::vector<Tensor> step(const std::vector<Tensor>& parameters, const std::vector<Tensor>& gradients,
                           double learning_rate, const Tensor& proceed);
  /// The tensors that the last `step` recorded and that must be evaluated with the new parameters.
  std::vector<Tensor> pending() const;

  /// Steps taken so far: t of the bias correction.
  std::int64_t steps() const noexcept { return steps_; }
  const std::vector<Tensor>& first_moments() const noexcept { return m_; }
  const std::vector<Tensor>& second_moments() const noexcept { return v_; }
  /// Continues from saved state. Throws ArgumentError when the shapes differ.
  void restore(std::int64_t steps, std::vector<Tensor> first_moments, std::vector<Tensor> second_moments);

 private:
  AdamWOptions options_;
  std::int64_t steps_ = 0;
  std::vector<Tensor> m_;
  std::vector<Tensor> v_;
};

/// sqrt of the sum of squares of all elements of all tensors, f32, recorded.
Tensor global_norm(const std::vector<Tensor>& tensors);
/// Gradients times min(1, max_norm / (norm + 1e-6)), as torch.nn.utils.clip_grad_norm_.
std::vector<Tensor> clip_by_global_norm(const std::vector<Tensor>& gradients, const Tensor& norm,
                                        double max_norm);

}  // namespace wick
