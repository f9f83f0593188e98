#include "optimize/graph.h"

#include "ops/reduction_group.h"

namespace wick {

std::vector<Spec> Graph::input_specs(const GraphNode& node) const {
  std::vector<Spec> specs;
  specs.reserve(node.inputs.size());
  for (std::uint32_t i : node.inputs) specs.push_back(nodes[i].spec);
  return specs;
}

std::vector<Spec> Graph::result_specs(const GraphNode& node) const {
  if (node.op && node.op->infer_all) return node.op->infer_all(input_specs(node), node.attrs);
  if (!node.group || node.op == &reduction_group_op()) {
    std::vector<Spec> specs(node.op ? node.op->results : 1, node.spec);
    if (node.op)
      for (std::uint32_t input : node.op->updates) specs.push_back(nodes[node.inputs[input]].spec);
    return specs;
  }
  const ElementwiseGroup& group = *node.group;
  const bool batch = node.op == &elementwise_batch_op();
  const std::size_t members = batch ? group.members(node.inputs.size()) : 1;
  std::vector<Spec> specs;
  specs.reserve(members * group.results.size());
  for (std::size_t m = 0; m < members; ++m) {
    const Shape& shape =
        batch ? nodes[node.inputs[group.input_of(m, group.shared)]].spec.shape : node.spec.shape;
    for (std::uint32_t result : group.results) specs.push_back({shape, group.dtype_of(result)});
  }
  return specs;
}

Shape Graph::shape_of_inputs(const GraphNode& node) const {
  Shape shape = nodes[node.inputs[0]].spec.shape;
  for (std::uint32_t input : node.inputs) shape = broadcast_shapes(shape, nodes[input].spec.shape);
  return shape;
}

bool Graph::is_row_major(std::uint32_t node) const {
  const GraphNode& n = nodes[node];
  if (!n.op) return leaves[n.leaf].layout.is_contiguous();
  return !n.op->view || n.op->name == "reshape";
}

Graph snapshot(const Walk& walk, const std::vector<char>& donated) {
  Graph graph;
  graph.nodes.resize(walk.order.size());
  if (!walk.roots.empty()) graph.device = walk.order[walk.roots[0]]->device();
  for (std::size_t i = 0; i < walk.order.size(); ++i) {
    const Node& node = *walk.order[i];
    GraphNode& out = graph.nodes[i];
    out.spec = {node.shape(), node.dtype()};
    out.where = node.where();
    out.recorded = static_cast<std::uint32_t>(i);
    if (walk.is_leaf(i)) {
      out.leaf = static_cast<std::uint32_t>(graph.leaves.size());
      const Value* value = node.value();
      Layout layout = value ? value->layout : Layout::contiguous(node.shape());
      layout.offset = 0;
      const bool is_weight = value && value->storage && !donated[i] && value->storage->is_weight();
      graph.leaves.push_back(
          {node.dtype(), layout, donated[i] != 0, is_weight, !(node.device() == graph.device), nullptr});
    } else {
      out.op = node.op();
      out.attrs = node.attrs();
      for (std::uint32_t e : walk.inputs(i)) out.inputs.push_back(e);
    }
  }
  graph.outputs = walk.roots;
  return graph;
}

GraphNode pick(std::uint32_t position, std::size_t result, const GraphNode& like) {
  GraphNode node;
  node.op = &pick_op();
  node.attrs = PickAttrs{static_cast<std::int64_t>(result)};
  node.spec = like.spec;
  node.where = like.where;
  node.inputs.push_back(position);
  return node;
}

std::vector<std::uint32_t> count_uses(const Graph& graph) {
  std::vector<std::uint32_t> uses(graph.nodes.size(), 0);
  for (const GraphNode& node : graph.nodes)
    for (std::uint32_t input : node.inputs) ++uses[input];
  for (std::uint32_t output : graph.outputs) ++uses[output];
  return uses;
}

Rewriter::Rewriter(const Graph& old) : old_(old), new_position_(old.nodes.size(), 0) {
  result_.device = old.device;
  result_.leaves = old.leaves;
  result_.nodes.reserve(old.nodes.size());
}

GraphNode Rewriter::mapped_copy(std::uint32_t i) const {
  GraphNode copy = old_.nodes[i];
  for (std::uint32_t& input : copy.inputs) input = new_position_[input];
  return copy;
}

std::uint32_t Rewriter::append(GraphNode node) {
  result_.nodes.push_back(std::move(node));
  return static_cast<std::uint32_t>(result_.nodes.size() - 1);
}

Graph Rewriter::finish() {
  for (std::uint32_t o : old_.outputs) result_.outputs.push_back(new_position_[o]);
  return std::move(result_);
}

}  // namespace wick
