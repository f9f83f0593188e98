#include "optimize/pipeline.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "backend/backend.h"
#include "optimize/append_to_cache.h"
#include "optimize/batch_groups.h"
#include "optimize/common_subexpressions.h"
#include "optimize/dead_nodes.h"
#include "optimize/decompose_scope.h"
#include "optimize/fold_constants.h"
#include "optimize/fuse_elementwise.h"
#include "optimize/fuse_epilogues.h"
#include "optimize/fuse_low_rank.h"
#include "optimize/fuse_projections.h"
#include "optimize/fuse_reductions.h"
#include "optimize/fuse_residual_gradients.h"
#include "optimize/fuse_residual_norms.h"
#include "optimize/fuse_rotations.h"
#include "optimize/fuse_thin_linear.h"
#include "optimize/join_adapters.h"
#include "optimize/join_siblings.h"
#include "optimize/lower.h"
#include "optimize/merge_groups.h"
#include "optimize/pass_selection.h"
#include "optimize/print.h"
#include "optimize/recognize.h"
#include "optimize/schedule.h"
#include "optimize/share_loss.h"
#include "optimize/simplify.h"
#include "optimize/sink_reshapes.h"
#include "optimize/sink_transposes.h"
#include "optimize/sum_updates.h"
#include "optimize/verify.h"

namespace wick {
namespace {

constexpr std::array passes{
    Pass{"common-subexpressions", &eliminate_common_subexpressions},
    Pass{"simplify", &simplify},
    Pass{"recognize", &recognize},
    Pass{"fuse-low-rank", &fuse_low_rank},
    Pass{"share-loss", &share_loss},
    Pass{.name = "fuse-thin-linear", .run = &fuse_thin_linear, .joins = true},
    Pass{"lower", &lower, true},
    Pass{"fold-constants", &fold_constants},
    Pass{"simplify", &simplify},
    Pass{"common-subexpressions", &eliminate_common_subexpressions},
    Pass{.name = "fuse-rotations", .run = &fuse_rotations, .joins = true},
    Pass{"dead-nodes", &eliminate_dead_nodes},
    Pass{"sink-transposes", &sink_transposes},
    Pass{"dead-nodes", &eliminate_dead_nodes},
    Pass{.name = "append-to-cache", .run = &append_to_cache, .joins = true},
    Pass{.name = "sum-updates", .run = &sum_updates, .joins = true},
    Pass{.name = "fuse-projections", .run = &fuse_projections, .joins = true},
    Pass{.name = "fuse-epilogues", .run = &fuse_epilogues, .joins = true},
    Pass{.name = "fuse-residual-norms", .run = &fuse_residual_norms, .joins = true},
    Pass{.name = "fuse-residual-gradients", .run = &fuse_residual_gradients, .joins = true},
    Pass{"sink-reshapes", &sink_reshapes},
    Pass{.name = "fuse-elementwise", .run = &fuse_elementwise, .joins = true},
    Pass{.name = "fuse-reductions", .run = &fuse_reductions, .joins = true},
    Pass{.name = "merge-groups", .run = &merge_groups, .joins = true},
    Pass{.name = "batch-groups", .run = &batch_groups, .joins = true},
    Pass{.name = "join-siblings", .run = &join_siblings, .joins = true},
    Pass{.name = "join-adapters", .run = &join_adapters, .joins = true},
    Pass{"schedule", &schedule},
};
static_assert(passes.size() <= 64, "the set of disabled passes is kept in 64 bits");

thread_local bool decompose_all = false;

void print_changes(const Pass& pass, const Graph& before, const Graph& after, double milliseconds) {
  const std::string text = changes(before, after);
  if (!text.empty())
    fmt::print(stderr, "pass {}: {} -> {} nodes, {:.3f} ms\n{}", pass.name, before.nodes.size(),
               after.nodes.size(), milliseconds, text);
}

/// Runs the first passes of the pipeline, without the disabled ones.
Graph run_first(std::size_t count, Graph graph, const PassContext& context, const PassObserver& observer) {
  static const bool verify_each = std::getenv("WICK_VERIFY") != nullptr;
  static const bool print_each = std::getenv("WICK_PASSES_PRINT") != nullptr;
  const std::uint64_t disabled = disabled_passes();
  const std::unique_ptr<DeviceScope> device = context.backend.use_device();
  for (std::size_t i = 0; i < count; ++i) {
    if (is_disabled(disabled, i)) continue;
    const auto start = std::chrono::steady_clock::now();
    Graph next = passes[i].run(graph, context);
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
    if (observer) observer(passes[i], graph, next, took.count());
    if (print_each) print_changes(passes[i], graph, next, took.count());
    graph = std::move(next);
    if (verify_each) verify(graph, passes[i].name);
  }
  return graph;
}

}  // namespace

DecomposeScope::DecomposeScope() : previous_(decompose_all) { decompose_all = true; }
DecomposeScope::~DecomposeScope() { decompose_all = previous_; }
bool DecomposeScope::active() noexcept { return decompose_all; }

std::span<const Pass> pipeline() { return passes; }

std::vector<std::string_view> joining_passes() {
  std::vector<std::string_view> names;
  for (const Pass& pass : passes)
    if (pass.joins) names.push_back(pass.name);
  return names;
}

Graph optimize(Graph graph, const PassContext& context, const PassObserver& observer) {
  graph = run_first(passes.size(), std::move(graph), context, observer);
#ifndef NDEBUG
  verify(graph, "the last pass");
#endif
  return graph;
}

Graph optimize_until_recognized(Graph graph, const PassContext& context) {
  const auto* last =
      std::find_if(passes.begin(), passes.end(), [](const Pass& pass) { return pass.run == &recognize; });
  return run_first(static_cast<std::size_t>(last - passes.begin()) + 1, std::move(graph), context, {});
}

}  // namespace wick
