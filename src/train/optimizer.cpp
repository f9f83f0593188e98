#include "wick/optimizer.h"

#include <fmt/format.h>

#include <cmath>

#include "wick/error.h"
#include "wick/ops/elementwise.h"
#include "wick/ops/reduce.h"

namespace wick {
namespace {

void require_same_shapes(const std::vector<Tensor>& have, const std::vector<Tensor>& given,
                         const char* what) {
  if (have.size() != given.size())
    throw ArgumentError(fmt::format("AdamW was made for {} parameters, but {} {} were given", have.size(),
                                    given.size(), what));
  for (std::size_t i = 0; i < have.size(); ++i)
    if (!(have[i].shape() == given[i].shape()) || given[i].dtype() != DType::f32)
      throw ArgumentError(fmt::format("AdamW: number {} of the {} is {}, it must be f32{}", i, what,
                                      given[i].str(), have[i].shape().str()));
}

/// A number that changes from step to step: data, so that every step runs the same plan.
Tensor changing(double value) { return Tensor::scalar(static_cast<float>(value)); }

}  // namespace

AdamW::AdamW(AdamWOptions options, const std::vector<Tensor>& parameters) : options_(options) {
  for (const Tensor& p : parameters) {
    if (p.dtype() != DType::f32)
      throw DTypeError(fmt::format("AdamW updates f32 parameters; one of those given is {}", p.str()));
    const std::vector<float> zero(static_cast<std::size_t>(p.elements()), 0.0F);
    m_.push_back(Tensor::from(zero, p.shape()).to(p.device()));
    v_.push_back(Tensor::from(zero, p.shape()).to(p.device()));
  }
}

std::vector<Tensor> AdamW::step(const std::vector<Tensor>& parameters, const std::vector<Tensor>& gradients,
                                double learning_rate, const Tensor& proceed) {
  require_same_shapes(m_, parameters, "parameters");
  require_same_shapes(m_, gradients, "gradients");
  ++steps_;
  const auto t = static_cast<double>(steps_);
  const Tensor decay = changing(1.0 - learning_rate * options_.weight_decay);
  const Tensor rate = changing(learning_rate / (1.0 - std::pow(options_.beta1, t)));
  const Tensor root_correction = changing(1.0 / std::sqrt(1.0 - std::pow(options_.beta2, t)));

  std::vector<Tensor> updated;
  updated.reserve(parameters.size());
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const Tensor& p = parameters[i];
    const Tensor& g = gradients[i];
    const Tensor m = m_[i] * options_.beta1 + g * (1.0 - options_.beta1);
    const Tensor v = v_[i] * options_.beta2 + square(g) * (1.0 - options_.beta2);
    const Tensor next = p * decay - rate * m / (sqrt(v) * root_correction + options_.eps);
    updated.push_back(where(proceed, next, p));
    m_[i] = where(proceed, m, m_[i]);
    v_[i] = where(proceed, v, v_[i]);
  }
  return updated;
}

std::vector<Tensor> AdamW::pending() const {
  std::vector<Tensor> moments = m_;
  moments.insert(moments.end(), v_.begin(), v_.end());
  return moments;
}

void AdamW::restore(std::int64_t steps, std::vector<Tensor> first_moments,
                    std::vector<Tensor> second_moments) {
  require_same_shapes(m_, first_moments, "first moments");
  require_same_shapes(v_, second_moments, "second moments");
  steps_ = steps;
  m_ = std::move(first_moments);
  v_ = std::move(second_moments);
}

Tensor global_norm(const std::vector<Tensor>& tensors) {
  if (tensors.empty()) throw ArgumentError("global_norm needs at least one tensor");
  std::vector<Tensor> floats;
  floats.reserve(tensors.size());
  for (const Tensor& t : tensors) floats.push_back(cast(t, DType::f32));
  return sqrt(sum_of_squares(floats));
}

std::vector<Tensor> clip_by_global_norm(const std::vector<Tensor>& gradients, const Tensor& norm,
                                        double max_norm) {
  if (!(max_norm > 0))
    throw ArgumentError(fmt::format("the largest gradient norm must be above 0, not {}", max_norm));
  const Tensor factor = minimum(max_norm / (norm + 1e-6), 1.0);
  std::vector<Tensor> clipped;
  clipped.reserve(gradients.size());
  for (const Tensor& g : gradients) clipped.push_back(g * factor);
  return clipped;
}

}  // namespace wick
