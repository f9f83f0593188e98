#include "optimize/fuse_residual_norms.h"

#include <algorithm>
#include <utility>

#include "ops/add_norm.h"
#include "optimize/has_kernel.h"

namespace wick {
namespace {

constexpr std::uint32_t none = ~std::uint32_t{0};

const Op* fused_op(const GraphNode& norm) {
  if (!norm.op) return nullptr;
  if (norm.op->name == "rms_norm") return &add_rms_norm_op();
  return norm.op->name == "layer_norm" ? &add_layer_norm_op() : nullptr;
}

class Fusion {
 public:
  Fusion(const Graph& graph, const PassContext& context)
      : graph_(graph),
        context_(context),
        uses_(count_uses(graph)),
        first_reader_(graph.nodes.size(), none),
        norm_of_(graph.nodes.size(), none) {
    for (std::uint32_t i = 0; i < graph.nodes.size(); ++i)
      for (std::uint32_t input : graph.nodes[i].inputs)
        first_reader_[input] = std::min(first_reader_[input], i);
  }

  Graph run() {
    bool changed = false;
    for (std::uint32_t i = 0; i < graph_.nodes.size(); ++i) {
      if (!fits(i)) continue;
      norm_of_[graph_.nodes[i].inputs[0]] = i;
      changed = true;
    }
    return changed ? rewritten() : graph_;
  }

 private:
  const GraphNode& node(std::uint32_t i) const { return graph_.nodes[i]; }

  GraphNode step_of(std::uint32_t norm) const {
    GraphNode step = node(norm);
    const GraphNode& sum = node(step.inputs[0]);
    step.op = fused_op(step);
    step.inputs = sum.inputs;
    for (std::size_t k = 1; k < node(norm).inputs.size(); ++k) step.inputs.push_back(node(norm).inputs[k]);
    return step;
  }

  /// Whether `norm` normalizes a sum that others read too, and is the first to read it, so that whatever the
  /// step needs is there when the sum is needed.
  bool fits(std::uint32_t norm) const {
    if (!fused_op(node(norm))) return false;
    const std::uint32_t at = node(norm).inputs[0];
    const GraphNode& sum = node(at);
    return sum.op && sum.op->name == "add" && uses_[at] > 1 && norm_of_[at] == none &&
           std::all_of(sum.inputs.begin(), sum.inputs.end(),
                       [&](std::uint32_t operand) { return is_term(operand, sum); }) &&
           parameters_precede_readers(norm) && has_kernel(graph_, step_of(norm), context_);
  }

  /// A tensor in memory; not what one elementwise pass would compute together with the sum.
  bool is_term(std::uint32_t operand, const GraphNode& sum) const {
    const GraphNode& term = node(operand);
    return term.spec == sum.spec && graph_.is_row_major(operand) &&
           !(term.op && term.op->elementwise && uses_[operand] == 1);
  }

  /// Data can be read at any time.
  bool parameters_precede_readers(std::uint32_t norm) const {
    const auto& inputs = node(norm).inputs;
    return std::all_of(inputs.begin() + 1, inputs.end(), [&](std::uint32_t parameter) {
      return !node(parameter).op || parameter < first_reader_[inputs[0]];
    });
  }

  /// Each step stands where the first reader of its sum stood.
  Graph rewritten() const {
    Rewriter out(graph_);
    std::vector<char> done(graph_.nodes.size(), 0);
    const auto copy = [&](std::uint32_t i) {
      if (!std::exchange(done[i], 1)) out.map(i, out.append(out.mapped_copy(i)));
    };
    for (std::uint32_t i = 0; i < graph_.nodes.size(); ++i) {
      if (done[i]) continue;
      for (std::uint32_t input : node(i).inputs) {
        const std::uint32_t norm = norm_of_[input];
        if (norm == none || std::exchange(done[norm], 1)) continue;
        GraphNode step = step_of(norm);
        for (std::uint32_t& operand : step.inputs) {
          if (!node(operand).op) copy(operand);
          operand = out[operand];
        }
        const std::uint32_t position = out.append(std::move(step));
        out.map(norm, position);
        out.map(input, out.append(pick(position, 1, node(input))));
      }
      if (norm_of_[i] == none && !done[i]) copy(i);
    }
    return out.finish();
  }

  const Graph& graph_;
  const PassContext& context_;
  std::vector<std::uint32_t> uses_;
  std::vector<std::uint32_t> first_reader_;
  std::vector<std::uint32_t> norm_of_;  // of a sum, the norm that it is computed with
};

}  // namespace

Graph fuse_residual_norms(const Graph& graph, const PassContext& context) {
  return Fusion(graph, context).run();
}

}  // namespace wick
