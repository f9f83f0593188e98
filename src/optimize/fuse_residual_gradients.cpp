#include "optimize/fuse_residual_gradients.h"

#include <optional>
#include <utility>

#include "ops/norm_gradient.h"
#include "optimize/has_kernel.h"

namespace wick {
namespace {

const Op* fused_op(const GraphNode& gradient) {
  if (!gradient.op) return nullptr;
  if (gradient.op->name == "rms_norm_gradient") return &rms_norm_gradient_add_op();
  return gradient.op->name == "layer_norm_gradient" ? &layer_norm_gradient_add_op() : nullptr;
}

class Fusion {
 public:
  Fusion(const Graph& graph, const PassContext& context)
      : graph_(graph),
        context_(context),
        uses_(count_uses(graph)),
        steps_(graph.nodes.size()),
        absorbed_(graph.nodes.size(), 0) {}

  Graph run() {
    bool changed = false;
    for (std::uint32_t i = 0; i < graph_.nodes.size(); ++i) changed |= fuse(i);
    return changed ? rewritten() : graph_;
  }

 private:
  const GraphNode& node(std::uint32_t i) const { return graph_.nodes[i]; }

  bool fuse(std::uint32_t sum) {
    if (!node(sum).op || node(sum).op->name != "add") return false;
    for (std::size_t k : {0, 1}) {
      const std::uint32_t gradient = node(sum).inputs[k];
      steps_[sum] = step_of(sum, gradient, node(sum).inputs[1 - k]);
      if (!steps_[sum]) continue;
      absorbed_[gradient] = 1;
      return true;
    }
    return false;
  }

  std::optional<GraphNode> step_of(std::uint32_t sum, std::uint32_t gradient, std::uint32_t added) const {
    if (!fused_op(node(gradient)) || uses_[gradient] > 1 || !(node(gradient).spec == node(sum).spec) ||
        !is_term(added, node(sum)))
      return std::nullopt;
    const auto& inputs = node(gradient).inputs;
    GraphNode step = node(sum);
    step.op = fused_op(node(gradient));
    step.attrs = node(gradient).attrs;
    step.inputs = {inputs[0], inputs[1], added};
    for (std::size_t i = 2; i < inputs.size(); ++i) step.inputs.push_back(inputs[i]);
    if (!has_kernel(graph_, step, context_)) return std::nullopt;
    return step;
  }

  /// A tensor in memory; not what one elementwise pass would compute together with the sum.
  bool is_term(std::uint32_t added, const GraphNode& sum) const {
    const GraphNode& term = node(added);
    return term.spec == sum.spec && graph_.is_row_major(added) &&
           !(term.op && term.op->elementwise && uses_[added] == 1 && !steps_[added]);
  }

  Graph rewritten() const {
    Rewriter out(graph_);
    for (std::uint32_t i = 0; i < graph_.nodes.size(); ++i) {
      if (absorbed_[i]) continue;
      GraphNode next = steps_[i] ? *steps_[i] : node(i);
      for (std::uint32_t& input : next.inputs) input = out[input];
      out.map(i, out.append(std::move(next)));
    }
    return out.finish();
  }

  const Graph& graph_;
  const PassContext& context_;
  std::vector<std::uint32_t> uses_;
  std::vector<std::optional<GraphNode>> steps_;  // of a sum, what computes it
  std::vector<char> absorbed_;                   // gradients
};

}  // namespace

Graph fuse_residual_gradients(const Graph& graph, const PassContext& context) {
  return Fusion(graph, context).run();
}

}  // namespace wick
