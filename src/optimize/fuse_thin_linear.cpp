#include "optimize/fuse_thin_linear.h"

#include <algorithm>
#include <map>
#include <optional>

#include "backend/backend.h"
#include "graph/record.h"
#include "ops/thin_linear.h"
#include "optimize/dead_nodes.h"
#include "optimize/has_kernel.h"
#include "optimize/is_op.h"
#include "optimize/record_into.h"
#include "wick/ops/movement.h"

namespace wick {
namespace {

constexpr std::size_t most_siblings = 3;

/// Linear layers of one input that become one op, in terms of the old graph's nodes.
struct Group {
  std::vector<std::uint32_t> layers;
  std::optional<std::uint32_t> root =
      {};  ///< the swiglu or the addition; none: the layers are results themselves
  std::optional<std::uint32_t> residual = {};
  bool gated = false;
  std::optional<std::uint32_t> norm = {};  ///< the node of the norm ahead, if it is part of the op

  /// x, weights, biases, the norm's weight, the residual.
  std::vector<std::uint32_t> inputs(const Graph& graph) const {
    const auto& nodes = graph.nodes;
    const std::uint32_t x = nodes[layers[0]].inputs[0];
    std::vector<std::uint32_t> list{norm ? nodes[*norm].inputs[0] : x};
    for (std::size_t i = 1; i < nodes[layers[0]].inputs.size(); ++i)
      for (std::uint32_t layer : layers) list.push_back(nodes[layer].inputs[i]);
    if (norm) list.push_back(nodes[*norm].inputs[1]);
    if (residual) list.push_back(*residual);
    return list;
  }
  /// The op on tensors for those.
  Tensor record(const Graph& graph, Inputs inputs) const {
    ThinLinear layer;
    auto next = inputs.begin();
    layer.x = *next++;
    for (std::size_t i = 0; i < layers.size(); ++i) layer.weights.push_back(*next++);
    if (graph.nodes[layers[0]].inputs.size() > 2)
      for (std::size_t i = 0; i < layers.size(); ++i) layer.biases.push_back(*next++);
    if (norm) {
      layer.norm = *next++;
      layer.eps = graph.nodes[*norm].attrs.as<NormAttrs>().eps;
    }
    if (residual) layer.residual = *next++;
    layer.gated = gated;
    return thin_linear(layer);
  }
};

class Fusion {
 public:
  Fusion(const Graph& graph, const PassContext& context)
      : graph_(graph),
        context_(context),
        out_(graph),
        uses_(count_uses(graph)),
        group_of_(graph.nodes.size()),
        done_(graph.nodes.size(), 0) {}

  Graph run() {
    find_gated();
    find_siblings();
    find_residuals();
    if (groups_.empty()) return graph_;
    for (std::uint32_t i = 0; i < graph_.nodes.size(); ++i) {
      if (done_[i]) continue;
      const auto group = group_of_[i];
      const bool complete = group && (!groups_[*group].root || *groups_[*group].root == i);
      if (!complete || !replace(groups_[*group])) keep(i);
    }
    return eliminate_dead_nodes(out_.finish(), context_);
  }

 private:
  const GraphNode& node(std::uint32_t i) const { return graph_.nodes[i]; }
  bool is_free_layer(std::uint32_t i) const { return is(node(i), "linear") && !group_of_[i]; }

  void find_gated() {
    for (std::uint32_t i = 0; i < graph_.nodes.size(); ++i) {
      if (!is(node(i), "swiglu")) continue;
      const std::uint32_t gate = node(i).inputs[0];
      const std::uint32_t up = node(i).inputs[1];
      if (gate == up || !is_free_layer(gate) || !is_free_layer(up) || !are_siblings(gate, up)) continue;
      if (uses_[gate] == 1 && uses_[up] == 1) add({.layers = {gate, up}, .root = i, .gated = true});
    }
  }

  void find_siblings() {
    std::map<std::uint32_t, std::vector<std::uint32_t>> by_input;
    for (std::uint32_t i = 0; i < graph_.nodes.size(); ++i)
      if (is_free_layer(i)) by_input[node(i).inputs[0]].push_back(i);
    for (const auto& [x, layers] : by_input) {
      const std::uint32_t first = layers[0];
      const bool alike = std::all_of(layers.begin(), layers.end(),
                                     [&](std::uint32_t layer) { return are_siblings(first, layer); });
      if (layers.size() > 1 && layers.size() <= most_siblings && alike) add({.layers = layers});
    }
  }

  void find_residuals() {
    for (std::uint32_t i = 0; i < graph_.nodes.size(); ++i) {
      if (!is(node(i), "add")) continue;
      for (std::size_t k = 0; k < 2; ++k) {
        const std::uint32_t layer = node(i).inputs[k];
        const std::uint32_t other = node(i).inputs[1 - k];
        const bool fits = is_free_layer(layer) && uses_[layer] == 1 &&
                          node(other).spec.shape == node(i).spec.shape &&
                          node(layer).spec.shape == node(i).spec.shape;
        if (fits && add({.layers = {layer}, .root = i, .residual = other})) break;
      }
    }
    for (std::uint32_t i = 0; i < graph_.nodes.size(); ++i)
      if (is_free_layer(i)) add({.layers = {i}});
  }

  bool are_siblings(std::uint32_t a, std::uint32_t b) const {
    return node(a).inputs[0] == node(b).inputs[0] && node(a).inputs.size() == node(b).inputs.size();
  }

  /// With the norm ahead, if nothing else needs it; else without. False where the backend takes neither.
  bool add(Group group) {
    const std::uint32_t x = node(group.layers[0]).inputs[0];
    if (is(node(x), "rms_norm") && node(x).inputs.size() == 2 && uses_[x] == group.layers.size())
      group.norm = x;
    if (group.norm && !is_supported(group)) group.norm.reset();
    if (!is_supported(group)) return false;
    for (std::uint32_t layer : group.layers) group_of_[layer] = groups_.size();
    if (group.root) group_of_[*group.root] = groups_.size();
    groups_.push_back(std::move(group));
    return true;
  }

  bool is_supported(const Group& group) const {
    const LazyScope lazy;
    GraphNode op;
    std::vector<Tensor> stand_ins;
    for (std::uint32_t i : group.inputs(graph_)) {
      stand_ins.push_back(stand_in(node(i).spec, graph_.device));
      op.inputs.push_back(i);
    }
    const Tensor result = group.record(graph_, stand_ins);
    op.op = &thin_linear_op();
    op.attrs = result.node()->attrs();
    op.spec = {result.shape(), result.dtype()};
    return has_kernel(graph_, op, context_);
  }

  void keep(std::uint32_t i) {
    out_.map(i, out_.append(out_.mapped_copy(i)));
    done_[i] = 1;
  }

  /// False when an input is computed later: the layers stay as they are.
  bool replace(const Group& group) {
    const std::vector<std::uint32_t> inputs = group.inputs(graph_);
    for (std::uint32_t input : inputs)
      if (!done_[input] && node(input).op) return false;
    std::vector<std::uint32_t> positions;
    for (std::uint32_t input : inputs) {
      if (!done_[input]) keep(input);  // data may stand later
      positions.push_back(out_[input]);
    }
    const SourceLocation where = node(group.layers[0]).where;
    const std::uint32_t whole = record_into(
        out_, positions, where, [&](Inputs stand_ins) { return group.record(graph_, stand_ins); });
    if (group.root) {
      finish(*group.root, whole);
      return true;
    }
    std::int64_t begin = 0;
    for (std::uint32_t layer : group.layers) {
      const std::int64_t end = begin + node(layer).spec.shape.dim(-1);
      finish(layer, group.layers.size() == 1
                        ? whole
                        : record_into(out_, std::span(&whole, 1), where,
                                      [&](Inputs stand_ins) { return slice(stand_ins[0], -1, begin, end); }));
      begin = end;
    }
    return true;
  }

  void finish(std::uint32_t i, std::uint32_t position) {
    out_.map(i, position);
    done_[i] = 1;
  }

  const Graph& graph_;
  const PassContext& context_;
  Rewriter out_;
  std::vector<std::uint32_t> uses_;  // an output counts once more
  std::vector<Group> groups_;
  std::vector<std::optional<std::size_t>> group_of_;  // of layers and roots
  std::vector<char> done_;
};

}  // namespace

Graph fuse_thin_linear(const Graph& graph, const PassContext& context) {
  if (context.decompose_all || !context.backend.find(thin_linear_op())) return graph;
  return Fusion(graph, context).run();
}

}  // namespace wick
