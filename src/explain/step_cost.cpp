#include "explain/step_cost.h"

#include <algorithm>

#include "explain/ceilings.h"
#include "graph/flops.h"
#include "ops/copy.h"
#include "ops/helpers.h"
#include "ops/reduction_group.h"

namespace wick {
namespace {

/// Bytes in memory behind a value: a broadcast repeats what lies there once, a slice reads a part.
double bytes_behind(const Graph& graph, std::uint32_t node) {
  double bytes = bytes_of(graph.nodes[node].spec);
  while (graph.nodes[node].op && graph.nodes[node].op->view) {
    node = graph.nodes[node].inputs[0];
    bytes = std::min(bytes, bytes_of(graph.nodes[node].spec));
  }
  return bytes;
}

double program_flops(const ElementwiseGroup& group, const Shape& shape) {
  double total = 0;
  for (const ElementwiseGroup::Instruction& part : group.instructions) {
    if (part.operands.empty()) continue;
    std::vector<Spec> inputs;
    for (std::uint32_t operand : part.operands) inputs.push_back({shape, group.dtype_of(operand)});
    total += flops_of(*part.op, inputs, {shape, part.dtype}, part.attrs);
  }
  return total;
}

/// Of a group, of all members of a batch, or of a reduction and what makes its elements.
double group_flops(const Graph& graph, const GraphNode& node) {
  const ElementwiseGroup& group = *node.group;
  if (node.op == &reduction_group_op()) {
    const Shape elements = graph.shape_of_inputs(node);
    return program_flops(group, elements) + static_cast<double>(elements.elements());
  }
  const std::vector<Spec> results = graph.result_specs(node);
  double total = 0;
  for (std::size_t r = 0; r < results.size(); r += group.results.size())
    total += program_flops(group, results[r].shape);
  return total;
}

}  // namespace

const Op& op_of(const Plan& plan, const Step& step) {
  return step.is_copy() ? copy_op() : *plan.graph.nodes[step.node].op;
}

std::vector<std::uint32_t> operands_of(const Plan& plan, const Step& step) {
  if (step.is_copy()) return {step.copied};
  const auto& inputs = plan.graph.nodes[step.node].inputs;
  return {inputs.begin(), inputs.end()};
}

std::vector<Spec> more_results(const Plan& plan, const Step& step) {
  if (step.more_outputs.empty()) return {};
  std::vector<Spec> specs = plan.graph.result_specs(plan.graph.nodes[step.node]);
  specs.erase(specs.begin());
  return specs;
}

StepCost cost_of(const Plan& plan, const Step& step) {
  const GraphNode& node = plan.graph.nodes[step.node];
  const Spec& output = plan.graph.nodes[step.value()].spec;
  std::vector<std::uint32_t> operands = operands_of(plan, step);
  std::vector<Spec> specs;
  specs.reserve(operands.size());
  for (std::uint32_t i : operands) specs.push_back(plan.graph.nodes[i].spec);

  StepCost cost;
  cost.dtype = output.dtype;
  for (auto spec = specs.rbegin(); spec != specs.rend(); ++spec)
    if (is_floating(spec->dtype)) cost.dtype = spec->dtype;
  if (!step.is_copy())
    cost.flops = node.group ? group_flops(plan.graph, node) : flops_of(*node.op, specs, output, node.attrs);
  if (!step.is_copy() && node.op->bytes) {
    const Address& first = step.inputs[0];
    const bool in_place = first.base == step.output.base && first.offset == step.output.offset;
    cost.bytes = node.op->bytes(specs, output, node.attrs, in_place);
    return cost;
  }
  std::sort(operands.begin(), operands.end());
  operands.erase(std::unique(operands.begin(), operands.end()), operands.end());
  cost.bytes = bytes_of(output);
  for (const Spec& more : more_results(plan, step)) cost.bytes += bytes_of(more);
  for (std::uint32_t i : operands) cost.bytes += bytes_behind(plan.graph, i);
  return cost;
}

double floor_seconds(const StepCost& cost, Device device) {
  const double flops = cost.flops > 0 ? peak_flops(device, cost.dtype) : 0;
  const double bandwidth = peak_bandwidth(device);
  return std::max(flops > 0 ? cost.flops / flops : 0, bandwidth > 0 ? cost.bytes / bandwidth : 0);
}

}  // namespace wick
