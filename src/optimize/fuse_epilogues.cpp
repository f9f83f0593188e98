#include "optimize/fuse_epilogues.h"

#include <algorithm>
#include <array>
#include <optional>

#include "ops/attributes.h"
#include "ops/linear_epilogue.h"
#include "optimize/fuse_reductions.h"
#include "optimize/fused_steps.h"
#include "optimize/has_kernel.h"
#include "optimize/is_op.h"

namespace wick {
namespace {

constexpr std::uint32_t none = ~std::uint32_t{0};

Activation activation_of(const GraphNode& node) {
  if (is(node, "relu")) return Activation::relu;
  if (is(node, "gelu")) return Activation::gelu;
  if (is(node, "gelu_tanh")) return Activation::gelu_tanh;
  return is(node, "silu") ? Activation::silu : Activation::none;
}

Combination combination_of(const GraphNode& node) {
  if (is(node, "add")) return Combination::add;
  return is(node, "mul") ? Combination::mul : Combination::none;
}

/// What one step is to compute, and the nodes on the way to its result, which nobody else reads.
struct Chain {
  GraphNode step;
  LinearEpilogueAttrs epilogue{};
  SmallVector<std::uint32_t, 4> members;
};

class Fusion {
 public:
  Fusion(const Graph& graph, const PassContext& context)
      : graph_(graph),
        context_(context),
        uses_(count_uses(graph)),
        last_reader_(graph.nodes.size(), none),
        elementwise_uses_(graph.nodes.size(), 0),
        steps_(graph) {
    for (std::uint32_t i = 0; i < graph.nodes.size(); ++i)
      for (std::uint32_t input : graph.nodes[i].inputs) {
        last_reader_[input] = i;
        if (reads_elementwise(i, input)) ++elementwise_uses_[input];
      }
  }

  /// From the results towards the data, so that the longest chain is found first.
  Graph run() {
    for (std::uint32_t i = static_cast<std::uint32_t>(graph_.nodes.size()); i-- > 0;)
      if (!steps_.is_absorbed(i) && !joins_a_group(i)) fuse(i);
    return steps_.rewritten();
  }

 private:
  const GraphNode& node(std::uint32_t i) const { return graph_.nodes[i]; }

  bool reads_elementwise(std::uint32_t reader, std::uint32_t i) const {
    return node(reader).op->elementwise && node(reader).spec.shape == node(i).spec.shape;
  }

  /// Whether one pass over memory computes `i` together with what reads it, whether `i` is part of the
  /// product or not. An activation may cost a pass of its own there, so it stays with several readers, too.
  bool joins_a_group(std::uint32_t i) const {
    const bool only_elementwise = uses_[i] > 0 && elementwise_uses_[i] == uses_[i];
    if (!is_activated(i)) return only_elementwise && uses_[i] == 1;
    return only_elementwise ||
           (last_reader_[i] != none && computes_its_elements(graph_, last_reader_[i], uses_, context_));
  }

  bool is_activated(std::uint32_t i) const {
    const auto is_activation = [this](std::uint32_t input) {
      return activation_of(node(input)) != Activation::none;
    };
    return is_activation(i) || (combination_of(node(i)) != Combination::none &&
                                std::any_of(node(i).inputs.begin(), node(i).inputs.end(), is_activation));
  }

  void fuse(std::uint32_t i) {
    std::optional<Chain> chain = combined_at(i);
    if (!chain) chain = activated_at(i);
    if (!chain) chain = with_bias_at(i);
    if (!chain || chain->members.empty()) return;
    for (std::uint32_t input : node(i).inputs)
      if (reads_elementwise(i, input)) --elementwise_uses_[input];
    steps_.put(i, std::move(chain->step), {chain->members.begin(), chain->members.end()});
  }

  /// The chain as a step, when the backend has a kernel for it.
  std::optional<Chain> supported(std::uint32_t i, Chain chain) const {
    chain.step.op = &linear_epilogue_op();
    chain.step.attrs = chain.epilogue;
    chain.step.spec = node(i).spec;
    chain.step.where = node(i).where;
    if (!has_kernel(graph_, chain.step, context_)) return std::nullopt;
    return chain;
  }

  /// x weight^T + bias, or a b of two matrices.
  std::optional<Chain> product_at(std::uint32_t i) const {
    const GraphNode& product = node(i);
    const bool transposed = is(product, "matmul");
    if (!transposed && !is(product, "linear")) return std::nullopt;
    const GraphNode& x = node(product.inputs[0]);
    if (transposed && (x.spec.shape.rank() != 2 || node(product.inputs[1]).spec.shape.rank() != 2))
      return std::nullopt;
    if (!graph_.is_row_major(product.inputs[0]) || !graph_.is_row_major(product.inputs[1]))
      return std::nullopt;
    Chain chain;
    chain.step.inputs = product.inputs;
    chain.epilogue.has_bias = product.inputs.size() > 2;
    chain.epilogue.transposed = transposed;
    return chain;
  }

  std::optional<Chain> with_bias_at(std::uint32_t i) const {
    if (std::optional<Chain> product = product_at(i)) return product;
    if (!is(node(i), "add")) return std::nullopt;
    for (std::size_t k : {0, 1}) {
      const std::uint32_t inner = node(i).inputs[k];
      const std::uint32_t bias = node(i).inputs[1 - k];
      if (!is_bias(bias, node(i)) || !is_only_read_by(i, inner)) continue;
      std::optional<Chain> chain = product_at(inner);
      if (!chain || chain->epilogue.has_bias != 0) continue;
      chain->epilogue.has_bias = 1;
      chain->step.inputs.push_back(bias);
      chain->members.push_back(inner);
      if (auto whole = supported(i, std::move(*chain))) return whole;
    }
    return std::nullopt;
  }

  std::optional<Chain> activated_at(std::uint32_t i) const {
    const Activation activation = activation_of(node(i));
    if (activation == Activation::none || !is_only_read_by(i, node(i).inputs[0])) return std::nullopt;
    std::optional<Chain> chain = with_bias_at(node(i).inputs[0]);
    if (!chain) return std::nullopt;
    chain->epilogue.activation = activation;
    chain->members.push_back(node(i).inputs[0]);
    return supported(i, std::move(*chain));
  }

  std::optional<Chain> combined_at(std::uint32_t i) const {
    const Combination combination = combination_of(node(i));
    if (combination == Combination::none) return std::nullopt;
    // The operand that comes last: what the other one is computed from has been read by then.
    const auto& inputs = node(i).inputs;
    const std::array<std::size_t, 2> order{inputs[0] > inputs[1] ? std::size_t{0} : std::size_t{1},
                                           inputs[0] > inputs[1] ? std::size_t{1} : std::size_t{0}};
    for (std::size_t k : order) {
      const std::uint32_t inner = inputs[k];
      const std::uint32_t other = inputs[1 - k];
      if (!is_only_read_by(i, inner) || !can_be_other(i, other)) continue;
      std::optional<Chain> chain = activated_at(inner);
      if (!chain) chain = with_bias_at(inner);
      if (!chain) continue;
      chain->epilogue.combination = combination;
      chain->step.inputs.push_back(other);
      chain->members.push_back(inner);
      if (auto whole = supported(i, std::move(*chain))) return whole;
    }
    return std::nullopt;
  }

  bool is_bias(std::uint32_t i, const GraphNode& sum) const {
    const Shape& shape = node(i).spec.shape;
    return shape.rank() >= 1 && shape.rank() <= sum.spec.shape.rank() && shape.elements() == shape.dim(-1) &&
           shape.dim(-1) == sum.spec.shape.dim(-1);
  }

  bool is_only_read_by(std::uint32_t reader, std::uint32_t i) const {
    return uses_[i] == 1 && node(i).spec == node(reader).spec;
  }

  /// A tensor in memory; not what one pass would compute together with `i`.
  bool can_be_other(std::uint32_t i, std::uint32_t other) const {
    if (!(node(other).spec == node(i).spec) || !graph_.is_row_major(other)) return false;
    const bool on_the_way = node(other).op && node(other).op->elementwise && uses_[other] == 1;
    return !on_the_way || activated_at(other).has_value();
  }

  const Graph& graph_;
  const PassContext& context_;
  std::vector<std::uint32_t> uses_;
  std::vector<std::uint32_t> last_reader_;
  std::vector<std::uint32_t> elementwise_uses_;  // by what is part of no chain
  FusedSteps steps_;
};

}  // namespace

Graph fuse_epilogues(const Graph& graph, const PassContext& context) { return Fusion(graph, context).run(); }

}  // namespace wick
