#include "wick/grad.h"

#include <fmt/format.h>

#include "core/pointer_map.h"
#include "core/trace.h"
#include "grad/pull_back.h"
#include "graph/record.h"
#include "graph/scope_names.h"
#include "graph/walk.h"
#include "wick/error.h"
#include "wick/ops.h"

namespace wick {
namespace {

std::vector<Tensor> input_gradients(const Node& node, Inputs inputs, const Tensor& output,
                                    const Tensor& cotangent, std::span<const bool> needed) {
  const Op& op = *node.op();
  const LocationScope scope(gradient_of(node.where()));
  if (op.vjp) return op.vjp({inputs, output, cotangent, node.attrs(), needed});
  if (!op.decompose)
    throw ArgumentError(fmt::format("grad: op {} has no gradient (recorded at {}:{})", op.name,
                                    node.where().file, node.where().line));
  std::vector<Tensor> wanted;
  for (std::size_t i = 0; i < inputs.size(); ++i)
    if (needed[i]) wanted.push_back(inputs[i]);
  const Tensor meaning = op.decompose(inputs, node.attrs());
  std::vector<Tensor> found = pull_back(meaning, cotangent, wanted, true);
  // An input that appears twice got its whole gradient at each place: keep the first.
  std::vector<Tensor> gradients(inputs.size());
  for (std::size_t i = 0, w = 0; i < inputs.size(); ++i) {
    if (!needed[i]) continue;
    bool seen = false;
    for (std::size_t j = 0; j < i; ++j) seen = seen || inputs[j].node() == inputs[i].node();
    if (!seen) gradients[i] = found[w];
    ++w;
  }
  return gradients;
}

}  // namespace

std::vector<Tensor> pull_back(const Tensor& output, const Tensor& cotangent, std::span<const Tensor> targets,
                              bool stop_at_targets) {
  const Walk graph =
      walk(std::span(&output, 1), WalkThrough::everything, stop_at_targets ? targets : Inputs{});
  const std::size_t count = graph.order.size();

  constexpr std::uint32_t unreached = PointerMap::absent - 1;
  PointerMap target_position;
  for (const Tensor& t : targets) target_position.set(t.node(), unreached);
  std::vector<char> is_target(count, 0);
  std::vector<char> reaches(count, 0);
  for (std::size_t i = 0; i < count; ++i) {
    const Node* node = graph.order[i];
    is_target[i] = target_position.find(node) != PointerMap::absent;
    if (is_target[i]) target_position.set(node, static_cast<std::uint32_t>(i));
    bool below = false;
    for (std::uint32_t e : graph.inputs(i)) below = below || reaches[e];
    reaches[i] = static_cast<char>(is_target[i] || (below && node->op() && node->op()->differentiable));
  }

  std::vector<Tensor> cotangents(count);
  cotangents[graph.roots[0]] = cotangent;
  for (std::size_t i = count; i-- > 0;) {
    const auto edges = graph.inputs(i);
    const Node* node = graph.order[i];
    if (!cotangents[i].defined() || !reaches[i] || edges.empty() || !node->op()->differentiable) continue;
    std::vector<Tensor> inputs;
    std::unique_ptr<bool[]> needed(new bool[edges.size()]);
    bool any = false;
    for (std::size_t k = 0; k < edges.size(); ++k) {
      inputs.push_back(Node::handle(graph.order[edges[k]]));
      needed[k] = reaches[edges[k]] && is_floating(inputs[k].dtype());
      any = any || needed[k];
    }
    if (!any) continue;
    const Tensor self = Node::handle(node);
    const Tensor upstream = cotangents[i];
    if (!is_target[i]) cotangents[i] = Tensor{};
    const std::vector<Tensor> found =
        input_gradients(*node, inputs, self, upstream, std::span<const bool>(needed.get(), edges.size()));
    for (std::size_t k = 0; k < edges.size(); ++k) {
      if (!needed[k] || !found[k].defined()) continue;
      if (!(found[k].shape() == inputs[k].shape()) || found[k].dtype() != inputs[k].dtype())
        throw InternalError(fmt::format("the gradient of {} for input {} is {}, but the input is {}",
                                        node->op()->name, k, found[k].str(), inputs[k].str()));
      Tensor& sum = cotangents[edges[k]];
      const SourceLocation where = gradient_of(node->where());
      sum = sum.defined() ? add({sum, where}, {found[k], where}) : found[k];
    }
  }

  std::vector<Tensor> results;
  for (const Tensor& target : targets) {
    const std::uint32_t position = target_position.find(target.node());
    results.push_back(position == unreached ? Tensor{} : cotangents[position]);
  }
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
  std::vector<Tensor> gradients = pull_back(loss, ones(loss.shape(), loss.dtype(), where), params, false);
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
