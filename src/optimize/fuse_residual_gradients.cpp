#include "optimize/fuse_residual_gradients.h"

#include <optional>
#include <utility>

#include "ops/norm_gradient.h"
#include "optimize/fused_steps.h"
#include "optimize/has_kernel.h"
#include "optimize/is_op.h"

namespace wick {
namespace {

bool is_norm_gradient(const GraphNode& node) {
  return is(node, "rms_norm_gradient") || is(node, "layer_norm_gradient");
}

/// A step that computes sums beside a norm's gradient, and the nodes that it takes the place of.
struct Fused {
  GraphNode step;
  SmallVector<std::uint32_t, 4> absorbed;
};

class Fusion {
 public:
  Fusion(const Graph& graph, const PassContext& context)
      : graph_(graph), context_(context), uses_(count_uses(graph)), steps_(graph) {}

  Graph run() {
    for (std::uint32_t i = 0; i < graph_.nodes.size(); ++i)
      if (std::optional<Fused> fused = is_norm_gradient(node(i)) ? of_sum(i) : added_at(i))
        steps_.put(i, std::move(fused->step), {fused->absorbed.begin(), fused->absorbed.end()});
    return steps_.rewritten();
  }

 private:
  const GraphNode& node(std::uint32_t i) const { return graph_.nodes[i]; }

  /// A gradient of a result whose own gradient is a sum.
  std::optional<Fused> of_sum(std::uint32_t gradient) const {
    Fused fused{.step = node(gradient), .absorbed = {}};
    auto attrs = fused.step.attrs.as<NormGradientAttrs>();
    SmallVector<std::uint32_t, 3> summed;
    if (!take_sum(fused.step.inputs[1], summed, fused.absorbed)) return std::nullopt;
    attrs.gradients = static_cast<std::int64_t>(summed.size());
    fused.step.attrs = attrs;
    fused.step.inputs = {node(gradient).inputs[0]};
    for (std::uint32_t input : summed) fused.step.inputs.push_back(input);
    for (std::size_t k = 2; k < node(gradient).inputs.size(); ++k)
      fused.step.inputs.push_back(node(gradient).inputs[k]);
    return supported(std::move(fused));
  }

  /// The operands of a sum in the order in which they are added, when kernels take as many.
  bool take_sum(std::uint32_t i, SmallVector<std::uint32_t, 3>& operands,
                SmallVector<std::uint32_t, 4>& absorbed) const {
    const GraphNode& sum = node(i);
    if (!is(sum, "add") || uses_[i] > 1 || steps_.at(i)) return false;
    if (absorbed.size() + 2 > static_cast<std::size_t>(most_norm_gradients)) return false;
    absorbed.push_back(i);
    std::uint32_t first = sum.inputs[0];
    std::uint32_t last = sum.inputs[1];
    if (!is_term(last, sum)) std::swap(first, last);
    if (!is_term(last, sum)) return false;
    if (is_term(first, sum))
      operands.push_back(first);
    else if (!take_sum(first, operands, absorbed))
      return false;
    operands.push_back(last);
    return true;
  }

  /// A sum of a gradient, which nobody else reads, and another tensor.
  std::optional<Fused> added_at(std::uint32_t sum) const {
    if (!is(node(sum), "add")) return std::nullopt;
    for (std::size_t k : {0, 1}) {
      const std::uint32_t gradient = node(sum).inputs[k];
      const std::uint32_t added = node(sum).inputs[1 - k];
      if (!is_norm_gradient(node(gradient)) || uses_[gradient] > 1 || !is_term(added, node(sum)) ||
          !(node(gradient).spec == node(sum).spec))
        continue;
      const GraphNode& alone = steps_.at(gradient) ? *steps_.at(gradient) : node(gradient);
      auto attrs = alone.attrs.as<NormGradientAttrs>();
      Fused fused{.step = node(sum), .absorbed = {gradient}};
      fused.step.op = alone.op;
      fused.step.inputs = {};
      for (std::size_t i = 0; i < alone.inputs.size(); ++i) {
        if (i == attrs.terms()) fused.step.inputs.push_back(added);
        fused.step.inputs.push_back(alone.inputs[i]);
      }
      if (alone.inputs.size() == attrs.terms()) fused.step.inputs.push_back(added);
      attrs.adds = 1;
      fused.step.attrs = attrs;
      if (auto whole = supported(std::move(fused))) return whole;
    }
    return std::nullopt;
  }

  std::optional<Fused> supported(Fused fused) const {
    if (!has_kernel(graph_, fused.step, context_)) return std::nullopt;
    return fused;
  }

  /// A tensor in memory; not what one elementwise pass would compute together with the sum.
  bool is_term(std::uint32_t operand, const GraphNode& sum) const {
    const GraphNode& term = node(operand);
    return term.spec == sum.spec && graph_.is_row_major(operand) &&
           !(term.op && term.op->elementwise && uses_[operand] == 1 && !steps_.at(operand));
  }

  const Graph& graph_;
  const PassContext& context_;
  std::vector<std::uint32_t> uses_;
  FusedSteps steps_;
};

}  // namespace

Graph fuse_residual_gradients(const Graph& graph, const PassContext& context) {
  return Fusion(graph, context).run();
}

}  // namespace wick
