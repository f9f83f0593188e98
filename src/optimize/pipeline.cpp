#include "optimize/pipeline.h"

#include <array>
#include <chrono>
#include <cstdlib>
#include <string>

#include "optimize/common_subexpressions.h"
#include "optimize/dead_nodes.h"
#include "optimize/decompose_scope.h"
#include "optimize/fuse_elementwise.h"
#include "optimize/lower.h"
#include "optimize/verify.h"
#include "wick/error.h"

namespace wick {
namespace {

constexpr std::array passes{
    Pass{"lower", &lower, true},
    Pass{"common-subexpressions", &eliminate_common_subexpressions},
    Pass{"dead-nodes", &eliminate_dead_nodes},
    Pass{"fuse-elementwise", &fuse_elementwise},
};

/// The passes that WICK_PASSES disables. Throws ArgumentError for a name that does not exist.
std::array<bool, passes.size()> disabled_passes() {
  std::array<bool, passes.size()> disabled{};
  const char* text = std::getenv("WICK_PASSES");
  std::string_view rest = text ? text : "";
  while (!rest.empty()) {
    const std::size_t comma = rest.find(',');
    const std::string_view item = rest.substr(0, comma);
    rest = comma == std::string_view::npos ? "" : rest.substr(comma + 1);
    bool known = false;
    for (std::size_t i = 0; i < passes.size(); ++i) {
      if (passes[i].required || item.size() < 2 || item[0] != '-' || item.substr(1) != passes[i].name)
        continue;
      disabled[i] = known = true;
    }
    if (!known) {
      std::string names;
      for (const Pass& p : passes)
        if (!p.required) names += " -" + std::string(p.name);
      throw ArgumentError("WICK_PASSES: \"" + std::string(item) + "\" is not one of" + names);
    }
  }
  return disabled;
}

thread_local bool decompose_all = false;

}  // namespace

DecomposeScope::DecomposeScope() : previous_(decompose_all) { decompose_all = true; }
DecomposeScope::~DecomposeScope() { decompose_all = previous_; }
bool DecomposeScope::active() noexcept { return decompose_all; }

std::span<const Pass> pipeline() { return passes; }

Graph optimize(Graph graph, const PassContext& context, const PassObserver& observer) {
  static const bool verify_each = std::getenv("WICK_VERIFY") != nullptr;
  const auto disabled = disabled_passes();
  for (std::size_t i = 0; i < passes.size(); ++i) {
    if (disabled[i]) continue;
    const auto start = std::chrono::steady_clock::now();
    Graph next = passes[i].run(graph, context);
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
    if (observer) observer(passes[i], graph, next, took.count());
    graph = std::move(next);
    if (verify_each) verify(graph, passes[i].name);
  }
#ifndef NDEBUG
  verify(graph, "the last pass");
#endif
  return graph;
}

}  // namespace wick
