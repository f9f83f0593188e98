#include "optimize/fuse_projections.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "ops/attributes.h"
#include "ops/lora_parts.h"
#include "optimize/dead_nodes.h"
#include "optimize/has_kernel.h"
#include "optimize/is_op.h"
#include "optimize/join_nodes.h"

namespace wick {
namespace {

/// An update as a sum of one.
GraphNode as_sum(GraphNode update) {
  const auto options = update.attrs.as<LoraUpdateAttrs>();
  if (options.has_bias != 0) std::rotate(&update.inputs[2], &update.inputs[3], update.inputs.end());
  update.op = &lora_update_sum_op();
  update.attrs = LoraUpdateSumAttrs{.has_bias = options.has_bias, .transposed = options.transposed};
  return update;
}

class Fusion {
 public:
  Fusion(const Graph& graph, const PassContext& context)
      : graph_(graph),
        context_(context),
        uses_(count_uses(graph)),
        is_projected_apart_(graph.nodes.size(), 0) {}

  Graph run() {
    do {
      steps_.clear();
      is_kept_.assign(graph_.nodes.size(), 0);
      is_taken_.assign(graph_.nodes.size(), 0);
      for (std::uint32_t i = 0; i < graph_.nodes.size(); ++i) {
        if (is(node(i), "lora_update"))
          fuse(i, as_sum(node(i)));
        else if (is(node(i), "lora_update_sum"))
          fuse(i, node(i));
      }
    } while (leaves_more_apart());
    return steps_.empty() ? graph_ : eliminate_dead_nodes(join_nodes(graph_, steps_), context_);
  }

 private:
  const GraphNode& node(std::uint32_t i) const { return graph_.nodes[i]; }

  /// Projections of one input are one launch (join-adapters): where one stays, the others cost little there,
  /// and more in products. Whether there are such inputs that were not known yet.
  bool leaves_more_apart() {
    bool found = false;
    for (std::uint32_t i = 0; i < graph_.nodes.size(); ++i) {
      if (!is(node(i), "lora_projection") || is_taken_[i]) continue;
      char& is_apart = is_projected_apart_[node(i).inputs[0]];
      found = found || !is_apart;
      is_apart = 1;
    }
    return found && !steps_.empty();
  }

  /// Lets the members of a sum in the place of `root` project. Of several that project alike one keeps what
  /// others read.
  void fuse(std::uint32_t root, GraphNode sum) {
    JoinedNodes results{root};
    std::vector<std::uint32_t> projections;
    auto attrs = sum.attrs.as<LoraUpdateSumAttrs>();
    const std::vector<LoraUpdateMember> members = lora_update_members(sum.inputs.size(), attrs);
    for (std::size_t m = 0; m < members.size(); ++m) {
      const std::uint32_t low = sum.inputs[members[m].factor];
      if (members[m].factor == 0 || !is(node(low), "lora_projection")) continue;
      const auto projection = node(low).attrs.as<LoraProjectionAttrs>();
      const std::uint32_t x = node(low).inputs[0];
      if (x != sum.inputs[members[m].x] || projection.transposed != attrs.transposed ||
          is_projected_apart_[x])
        continue;
      projections.push_back(low);
      sum.inputs[members[m].factor] = node(low).inputs[1];
      attrs.projecting |= std::int64_t{1} << m;
      attrs.scales[m] = projection.scale;
      if (uses_[low] == 1 || is_kept_[low] || std::find(results.begin(), results.end(), low) != results.end())
        continue;
      attrs.kept |= std::int64_t{1} << m;
      results.push_back(low);
    }
    sum.attrs = attrs;
    if (attrs.projecting == 0 || !has_kernel(graph_, sum, context_)) return;
    for (std::uint32_t result : results) is_kept_[result] = 1;
    for (std::uint32_t projection : projections) is_taken_[projection] = 1;
    steps_.push_back({std::move(results), std::move(sum)});
  }

  const Graph& graph_;
  const PassContext& context_;
  std::vector<std::uint32_t> uses_;
  std::vector<char> is_kept_;             // by a step
  std::vector<char> is_taken_;            // projections by a step
  std::vector<char> is_projected_apart_;  // inputs of projections that stay
  std::vector<JoinedStep> steps_;
};

}  // namespace

Graph fuse_projections(const Graph& graph, const PassContext& context) {
  if (!context.backend.find(lora_update_sum_op())) return graph;
  return Fusion(graph, context).run();
}

}  // namespace wick
