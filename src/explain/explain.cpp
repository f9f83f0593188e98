#include "wick/explain.h"

#include <algorithm>
#include <map>

#include "backend/backend.h"
#include "explain/ceilings.h"
#include "explain/step_cost.h"
#include "graph/scope_names.h"
#include "ops/helpers.h"
#include "optimize/decompose_scope.h"
#include "optimize/pipeline.h"
#include "optimize/print.h"
#include "runtime/evaluation.h"
#include "wick/error.h"

namespace wick {
namespace {

ExplainedOrigin origin_of(const SourceLocation& where) {
  return {where.line > 0 ? where.file : "", where.line, scope_path(where.scope), is_gradient(where)};
}

std::string attributes_of(const GraphNode& node) {
  if (node.group) return print(*node.group);
  return node.op && node.op->describe ? node.op->describe(node.attrs) : "";
}

std::vector<ExplainedNode> explain_graph(const Graph& graph) {
  std::vector<ExplainedNode> nodes;
  for (const GraphNode& node : graph.nodes)
    nodes.push_back({node.op ? std::string(node.op->name) : "",
                     attributes_of(node),
                     node.spec.shape,
                     node.spec.dtype,
                     {node.inputs.begin(), node.inputs.end()},
                     origin_of(node.where)});
  return nodes;
}

/// Who wrote what lies at an address last, step by step.
class Writers {
 public:
  /// The step whose result holds this address, if a step wrote it.
  std::optional<std::uint32_t> at(const Address& address) const {
    const auto base = blocks_.find(address.base);
    if (base == blocks_.end()) return {};
    auto block = base->second.upper_bound(address.offset);
    if (block == base->second.begin()) return {};
    --block;
    if (address.offset >= block->second.end) return {};
    return block->second.step;
  }
  void write(const Address& address, std::uint64_t bytes, std::uint32_t step) {
    auto& blocks = blocks_[address.base];
    const std::uint64_t end = address.offset + std::max<std::uint64_t>(bytes, 1);
    auto block = blocks.upper_bound(address.offset);
    if (block != blocks.begin() && std::prev(block)->second.end > address.offset) --block;
    while (block != blocks.end() && block->first < end) block = blocks.erase(block);
    blocks[address.offset] = {end, step};
  }

 private:
  struct Block {
    std::uint64_t end = 0;
    std::uint32_t step = 0;
  };
  std::map<std::uint32_t, std::map<std::uint64_t, Block>> blocks_;  // by base and offset
};

ExplainedPlace place_of(const Plan& plan, const Address& address) {
  using Kind = ExplainedPlace::Kind;
  if (address.base == 0) return {Kind::arena, 0, address.offset};
  if (plan.is_leaf_base(address.base)) return {Kind::input, address.base - 1, address.offset};
  return {Kind::result, address.base - plan.result_base(0), address.offset};
}

std::vector<ExplainedStep> explain_steps(const Plan& plan) {
  std::vector<ExplainedStep> steps;
  Writers writers;
  for (std::uint32_t s = 0; s < plan.steps.size(); ++s) {
    const Step& step = plan.steps[s];
    const GraphNode& node = plan.graph.nodes[step.node];
    const StepCost cost = cost_of(plan, step);
    const Spec& result = plan.graph.nodes[step.value()].spec;
    ExplainedStep out;
    out.op = op_of(plan, step).name;
    if (!step.is_copy()) out.attributes = attributes_of(node);
    const std::vector<std::uint32_t> operands = operands_of(plan, step);
    for (std::size_t k = 0; k < operands.size(); ++k) {
      const Spec& spec = plan.graph.nodes[operands[k]].spec;
      const Address& address = step.inputs[k];
      out.operands.push_back({spec.shape, spec.dtype, place_of(plan, address), writers.at(address)});
      if (out.operands.back().step) steps[*out.operands.back().step].last_use = s;
      out.in_place =
          out.in_place || (address.base == step.output.base && address.offset == step.output.offset);
    }
    out.shape = result.shape;
    out.dtype = result.dtype;
    out.place = place_of(plan, step.output);
    out.last_use = s;
    out.flops = cost.flops;
    out.bytes = cost.bytes;
    out.floor_seconds = floor_seconds(cost, plan.graph.device);
    out.origin = origin_of(node.where);
    writers.write(step.output, static_cast<std::uint64_t>(bytes_of(result)), s);
    const std::vector<Spec> results = more_results(plan, step);
    for (std::size_t r = 0; r < results.size(); ++r) {
      const Address& address = step.more_outputs[r];
      out.more_results.push_back({results[r].shape, results[r].dtype, place_of(plan, address)});
      writers.write(address, static_cast<std::uint64_t>(bytes_of(results[r])), s);
    }
    steps.push_back(std::move(out));
  }
  return steps;
}

/// The dtype that most of the plan's floating-point operations are in.
DType main_dtype(const Plan& plan) {
  std::array<double, dtype_count> flops{};
  for (const Step& step : plan.steps) {
    const StepCost cost = cost_of(plan, step);
    flops[static_cast<std::size_t>(cost.dtype)] += cost.flops;
  }
  const auto most = std::max_element(flops.begin(), flops.end());
  return *most > 0 ? static_cast<DType>(most - flops.begin()) : DType::f32;
}

template <typename Member>
double sum_of(const std::vector<ExplainedStep>& steps, Member member) {
  double sum = 0;
  for (const ExplainedStep& step : steps) sum += step.*member;
  return sum;
}

}  // namespace

double Explanation::flops() const noexcept { return sum_of(steps, &ExplainedStep::flops); }
double Explanation::bytes() const noexcept { return sum_of(steps, &ExplainedStep::bytes); }
double Explanation::floor_seconds() const noexcept { return sum_of(steps, &ExplainedStep::floor_seconds); }

Explanation explain(std::span<const Tensor> outputs, History history) {
  std::vector<Tensor> open;
  for (const Tensor& output : outputs) {
    if (!output.defined()) throw ArgumentError("explain: an empty tensor was given");
    if (!output.node()->value()) open.push_back(output);
  }
  Explanation result;
  result.title = "evaluation";
  const Device device = open.empty() ? cpu : open.front().device();
  result.threads = device == cpu ? threads() : 0;
  result.device = device.str();
  if (open.empty()) return result;
  Graph graph = graph_to_evaluate(open, history);
  result.graph = explain_graph(graph);
  result.outputs = graph.outputs;
  const Backend& backend = backend_for(graph.device);
  graph = optimize(std::move(graph), {backend, DecomposeScope::active()},
                   [&](const Pass& pass, const Graph& before, const Graph& after, double milliseconds) {
                     result.passes.push_back({std::string(pass.name), milliseconds, before.nodes.size(),
                                              after.nodes.size(), changes(before, after)});
                   });
  const std::shared_ptr<const Plan> plan = make_plan(std::move(graph), backend);
  result.steps = explain_steps(*plan);
  result.arena_bytes = plan->arena_bytes;
  result.result_bytes = plan->peak_bytes() - plan->arena_bytes;
  for (const GraphNode& node : plan->graph.nodes)
    if (!node.op) result.input_bytes += static_cast<std::uint64_t>(bytes_of(node.spec));
  result.peak_flops = peak_flops(plan->graph.device, main_dtype(*plan));
  result.peak_bandwidth = peak_bandwidth(plan->graph.device);
  return result;
}

Explanation explain(std::initializer_list<Tensor> outputs, History history) {
  return explain(std::span<const Tensor>(outputs.begin(), outputs.size()), history);
}

}  // namespace wick
