#include "wick/grad.h"

#include <fmt/format.h>

#include "core/trace.h"
#include "grad/pull_back.h"
#include "graph/record.h"
#include "graph/scope_names.h"
#include "wick/error.h"
#include "wick/ops.h"

namespace wick {
namespace {

/// Position i's own gradients, one an input.
std::vector<Tensor> input_gradients(const GradHistory& history, std::size_t i, Inputs inputs,
                                    const Tensor& cotangent, std::span<const bool> needed) {
  const Op& op = *history.op(i);
  const SourceLocation where = history.where(i);
  const LocationScope scope(gradient_of(where));
  if (op.vjp) return op.vjp({inputs, history.value(i), cotangent, history.attrs(i), needed});
  if (!op.decompose)
    throw ArgumentError(
        fmt::format("grad: op {} has no gradient (recorded at {}:{})", op.name, where.file, where.line));
  std::vector<Tensor> wanted;
  for (std::size_t k = 0; k < inputs.size(); ++k)
    if (needed[k]) wanted.push_back(inputs[k]);
  const Tensor meaning = op.decompose(inputs, history.attrs(i));
  std::vector<Tensor> found =
      pull_back({meaning, wanted, {.stop_at_targets = true, .recognize = false}}, cotangent);
  // An input that appears twice got its whole gradient at each place: keep the first.
  std::vector<Tensor> gradients(inputs.size());
  for (std::size_t k = 0, w = 0; k < inputs.size(); ++k) {
    if (!needed[k]) continue;
    bool seen = false;
    for (std::size_t j = 0; j < k; ++j) seen = seen || inputs[j].node() == inputs[k].node();
    if (!seen) gradients[k] = found[w];
    ++w;
  }
  return gradients;
}

}  // namespace

std::vector<Tensor> pull_back(const GradHistory& history, const Tensor& cotangent) {
  const std::size_t count = history.size();
  std::vector<char> is_target(count, 0);
  for (std::uint32_t target : history.targets())
    if (target != GradHistory::absent) is_target[target] = 1;
  std::vector<char> reaches(count, 0);
  for (std::size_t i = 0; i < count; ++i) {
    bool below = false;
    for (std::uint32_t e : history.inputs(i)) below = below || reaches[e];
    reaches[i] = static_cast<char>(is_target[i] || (below && history.op(i) && history.op(i)->differentiable));
  }

  std::vector<Tensor> cotangents(count);
  cotangents[history.output()] = cotangent;
  for (std::size_t i = count; i-- > 0;) {
    const auto edges = history.inputs(i);
    if (!cotangents[i].defined() || !reaches[i] || edges.empty() || !history.op(i)->differentiable) continue;
    std::vector<Tensor> inputs;
    std::unique_ptr<bool[]> needed(new bool[edges.size()]);
    bool any = false;
    for (std::size_t k = 0; k < edges.size(); ++k) {
      inputs.push_back(history.value(edges[k]));
      needed[k] = reaches[edges[k]] && is_floating(inputs[k].dtype());
      any = any || needed[k];
    }
    if (!any) continue;
    const Tensor upstream = cotangents[i];
    if (!is_target[i]) cotangents[i] = Tensor{};
    const std::vector<Tensor> found =
        input_gradients(history, i, inputs, upstream, std::span<const bool>(needed.get(), edges.size()));
    for (std::size_t k = 0; k < edges.size(); ++k) {
      if (!needed[k] || !found[k].defined()) continue;
      if (!(found[k].shape() == inputs[k].shape()) || found[k].dtype() != inputs[k].dtype())
        throw InternalError(fmt::format("the gradient of {} for input {} is {}, but the input is {}",
                                        history.op(i)->name, k, found[k].str(), inputs[k].str()));
      Tensor& sum = cotangents[edges[k]];
      const SourceLocation where = gradient_of(history.where(i));
      sum = sum.defined() ? add({sum, where}, {found[k], where}) : found[k];
    }
  }

  std::vector<Tensor> results;
  for (std::uint32_t target : history.targets())
    results.push_back(target == GradHistory::absent ? Tensor{} : cotangents[target]);
  return results;
}

std::vector<Tensor> grad(const Tensor& loss, std::span<const Tensor> params, SourceLocation where) {
  if (!is_floating(loss.dtype()) || loss.elements() != 1)
    throw ShapeError(fmt::format("grad: the loss must be one floating-point number, not {} (called at {}:{})",
                                 loss.str(), where.file, where.line));
  for (const Tensor& p : params)
    if (!is_floating(p.dtype()))
      throw ArgumentError(fmt::format("grad: a parameter of dtype {} has no gradient (called at {}:{})",
                                      name_of(p.dtype()), where.file, where.line));
  const trace::Span span("record", "grad", where);
  std::vector<Tensor> gradients = pull_back({loss, params, {}}, ones(loss.shape(), loss.dtype(), where));
  for (std::size_t i = 0; i < params.size(); ++i)
    if (!gradients[i].defined()) gradients[i] = zeros(params[i].shape(), params[i].dtype(), where);
  return gradients;
}

std::vector<Tensor> grad(const Tensor& loss, const std::vector<Tensor>& params, SourceLocation where) {
  return grad(loss, std::span<const Tensor>(params), where);
}

std::function<std::pair<Tensor, std::vector<Tensor>>(std::span<const Tensor>)> value_and_grad(
    LossFunction f) {
  return [f = std::move(f)](std::span<const Tensor> params) {
    Tensor loss = f(params);
    std::vector<Tensor> gradients = grad(loss, params);
    return std::pair{std::move(loss), std::move(gradients)};
  };
}

}  // namespace wick
