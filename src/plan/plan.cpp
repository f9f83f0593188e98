#include "plan/plan.h"

#include <array>
#include <numeric>

#include "graph/record.h"
#include "wick/error.h"

namespace wick {

std::uint64_t Plan::peak_bytes() const noexcept {
  return std::accumulate(result_bytes.begin(), result_bytes.end(), arena_bytes);
}

void Plan::run(std::span<std::byte* const> bases) const {
  const auto resolve = [&](const Address& a) -> std::byte* { return bases[a.base] + a.offset; };
  std::array<const void*, 8> few;
  std::vector<const void*> many;
  for (const Step& step : steps) {
    const void** inputs = few.data();
    if (step.inputs.size() > few.size()) {
      many.resize(step.inputs.size());
      inputs = many.data();
    }
    for (std::size_t i = 0; i < step.inputs.size(); ++i) inputs[i] = resolve(step.inputs[i]);
    try {
      step.kernel->run(inputs, resolve(step.output), resolve(step.scratch));
    } catch (const ArgumentError& e) {
      const GraphNode& node = graph.nodes[step.node];
      throw ArgumentError(std::string(node.op->name) + ": " + e.what() + "\n  in " +
                          describe_call(*node.op, graph.input_specs(node), node.attrs, node.where));
    }
  }
}

}  // namespace wick
