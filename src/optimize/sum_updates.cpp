#include "optimize/sum_updates.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "backend/backend.h"
#include "ops/attributes.h"
#include "ops/lora_parts.h"
#include "optimize/fused_steps.h"
#include "optimize/has_kernel.h"
#include "optimize/is_op.h"

namespace wick {
namespace {

/// What one step is to compute, and the nodes on the way to its result, which nobody else reads.
struct Sum {
  GraphNode step;
  std::vector<std::uint32_t> absorbed;
};

class Summation {
 public:
  Summation(const Graph& graph, const PassContext& context)
      : graph_(graph), context_(context), uses_(count_uses(graph)), steps_(graph) {}

  /// From the results towards the data, so that the longest sum is found first.
  Graph run() {
    for (std::uint32_t i = static_cast<std::uint32_t>(graph_.nodes.size()); i-- > 0;) {
      if (steps_.is_absorbed(i) || !is(node(i), "add")) continue;
      std::optional<Sum> sum = sum_at(i);
      if (sum && has_kernel(graph_, sum->step, context_)) steps_.put(i, std::move(sum->step), sum->absorbed);
    }
    return steps_.rewritten();
  }

 private:
  const GraphNode& node(std::uint32_t i) const { return graph_.nodes[i]; }

  bool is_update(std::uint32_t i) const {
    return is(node(i), "lora_update") && node(i).attrs.as<LoraUpdateAttrs>().has_bias == 0;
  }

  bool is_plain(std::uint32_t i, bool transposed) const {
    const auto& inputs = node(i).inputs;
    return is(node(i), transposed ? "matmul" : "linear") && inputs.size() == 2 &&
           node(inputs[1]).spec.shape.rank() == 2 && node(inputs[0]).spec.dtype == node(i).spec.dtype &&
           graph_.is_row_major(inputs[0]) && graph_.is_row_major(inputs[1]);
  }

  std::optional<Sum> sum_at(std::uint32_t root) const {
    Sum sum;
    std::vector<std::uint32_t> products;
    std::vector<std::uint32_t> adds{root};
    for (std::size_t at = 0; at < adds.size(); ++at)
      for (std::uint32_t term : node(adds[at]).inputs) {
        if (uses_[term] != 1 || !(node(term).spec == node(root).spec)) return std::nullopt;
        sum.absorbed.push_back(term);
        (is(node(term), "add") ? adds : products).push_back(term);
        if (adds.size() >= LoraUpdateSumAttrs::most_members) return std::nullopt;  // they have one term more
      }
    std::sort(products.begin(), products.end());
    const auto plain = std::stable_partition(products.begin(), products.end(),
                                             [this](std::uint32_t product) { return is_update(product); });
    if (plain == products.begin()) return std::nullopt;
    const std::int64_t transposed = node(products[0]).attrs.as<LoraUpdateAttrs>().transposed;
    LoraUpdateSumAttrs attrs{.transposed = transposed};
    for (auto product = products.begin(); product != products.end(); ++product) {
      const GraphNode& member = node(*product);
      if (product < plain ? member.attrs.as<LoraUpdateAttrs>().transposed != transposed
                          : !is_plain(*product, transposed != 0))
        return std::nullopt;
      if (product >= plain) attrs.plain |= std::int64_t{1} << (product - products.begin());
      for (std::uint32_t input : member.inputs) sum.step.inputs.push_back(input);
    }
    sum.step.op = &lora_update_sum_op();
    sum.step.attrs = attrs;
    sum.step.spec = node(root).spec;
    sum.step.where = node(root).where;
    return sum;
  }

  const Graph& graph_;
  const PassContext& context_;
  std::vector<std::uint32_t> uses_;
  FusedSteps steps_;
};

}  // namespace

Graph sum_updates(const Graph& graph, const PassContext& context) {
  if (!context.backend.find(lora_update_sum_op())) return graph;
  return Summation(graph, context).run();
}

}  // namespace wick
